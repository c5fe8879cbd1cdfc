// The experiments of Stanford's CS336, first assignment, on any text and at any size: how the loss depends on
// the learning rate, on the batch size, and on the parts of a Transformer. Every run sees the same number of
// tokens. Prints a table of each experiment, and draws its curves as SVG.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tenon/files.hpp>
#include <tenon/tenon.hpp>

#include "../arguments.hpp"
#include "../token_data.hpp"
#include "learner.hpp"

using namespace tenon;

// The ablations: each feature is another type of model.
struct Baseline : TransformerDefaults {};
struct WithoutNorm : TransformerDefaults {
    static constexpr NormKind norm = NormKind::none;
};
struct PostNorm : TransformerDefaults {
    static constexpr NormPlacement placement = NormPlacement::post;
};
struct WithoutPositions : TransformerDefaults {
    static constexpr Positions positions = Positions::none;
};
struct WithoutGate : TransformerDefaults {
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::silu;
};

struct Variant {
    const char* name;
    Learner (*make)(TransformerSizes, Seed);
};
constexpr Variant baseline{"pre-norm, RoPE, SwiGLU", make_learner<Baseline>};
constexpr Variant without_norm{"no norm", make_learner<WithoutNorm>};
constexpr Variant ablations[] = {without_norm,
                                 {"post-norm", make_learner<PostNorm>},
                                 {"no positions", make_learner<WithoutPositions>},
                                 {"SiLU without gate", make_learner<WithoutGate>}};

struct Options {
    std::vector<std::string> texts;
    std::string folder;
    std::string only;
    TransformerSizes sizes;
    std::int64_t tokens = 0;  // of each run
    double seconds = 0;       // of each run; 0: as many as the tokens take
    std::vector<double> rates, batch_sizes;
    int batch_size = 0;  // where it is not what is studied
    Seed seed;
};

struct Run {
    Variant variant = baseline;
    double rate = 0;
    int batch_size = 0;

    std::int64_t parameters = 0, steps = 0;
    double seconds = 0;
    // On held-out text at the end, in nats a token; as it is where the run has diverged.
    double loss = std::numeric_limits<double>::infinity();
    std::vector<CurvePoint> curve{};  // the loss on a sample of that text, over thousands of tokens
};

/// Trains one model: AdamW, gradients clipped, a warmup of a twentieth of the run and then a cosine.
void train(Run& run, const Data& data, const Options& options) {
    const Learner learner = run.variant.make(options.sizes, options.seed);
    AdamW<float, float, Cpu> optimizer(learner.parameters, {.beta2 = 0.95, .decay = 0.1});
    const RandomBatches<dyn, dyn, Token> batches(data.training, options.seed, run.batch_size,
                                                 options.sizes.context);
    const std::int64_t tokens_of_step = std::int64_t{run.batch_size} * options.sizes.context;
    const std::int64_t last_step = std::max<std::int64_t>(options.tokens / tokens_of_step, 1);
    constexpr int whole = 10'000;  // the schedule's steps, however long the run is
    const CosineSchedule schedule{run.rate, run.rate / 20, whole / 20, whole};
    run.parameters = learner.parameter_count;

    // A part of the held-out text is enough for the curve.
    constexpr int judged_at_once = 16;
    const std::span<const Token> sample(data.held_out.data(),
                                        std::max<std::size_t>(data.held_out.size() / 5, 2));
    const auto add_point = [&] {
        run.curve.push_back(
            {static_cast<double>(run.steps * tokens_of_step) / 1000, learner.judge(sample, judged_at_once)});
    };
    const auto share_done = [&] {
        return options.seconds > 0 ? run.seconds / options.seconds
                                   : static_cast<double>(run.steps) / static_cast<double>(last_step);
    };
    double next_point = 0, judging = 0;
    const double begin = monotonic_seconds();
    while (share_done() < 1) {
        const double share = share_done();
        if (share >= next_point) {
            next_point = share + 1.0 / 12;
            const double before = monotonic_seconds();
            add_point();
            judging += monotonic_seconds() - before;
        }
        const auto [inputs, targets] = batches(run.steps);
        const double loss = learner.learn(inputs, targets);
        const double norm = optimizer.clip(1.0);
        if (!std::isfinite(loss) || !std::isfinite(norm)) return;  // diverged
        optimizer.rate = schedule(static_cast<std::int64_t>(share * whole) + 1);
        optimizer.step();
        ++run.steps;
        run.seconds = monotonic_seconds() - begin - judging;
    }
    add_point();
    const double loss = learner.judge(data.held_out, judged_at_once);
    if (std::isfinite(loss)) run.loss = loss;
}

/// Runs, prints and draws the experiments. A run that two of them share is done once.
class Experiments {
public:
    Experiments(const Data& data, const Options& options) : data_(data), options_(options) {}

    /// The rate of the least loss is that of the experiments that follow.
    void learning_rates() {
        std::vector<Run> runs;
        std::vector<std::string> names;
        for (const double rate : options_.rates) {
            runs.push_back(done({baseline, rate, options_.batch_size}));
            names.push_back("rate " + text_of(rate));
        }
        report("Learning rates", "learning_rates", names, runs);
    }

    /// Rates follow the root of the batch size, as suits Adam (Malladi et al. 2022, "On the SDEs and scaling
    /// rules for adaptive gradient algorithms").
    void batch_sizes() {
        std::vector<Run> runs;
        std::vector<std::string> names;
        for (const double size : options_.batch_sizes) {
            const double rate = best_rate() * std::sqrt(size / options_.batch_size);
            runs.push_back(done({baseline, rate, static_cast<int>(size)}));
            names.push_back("batch " + text_of(size));
        }
        report("Batch sizes", "batch_sizes", names, runs);
    }

    /// Without norms also at a lower rate: they are what allows a high one.
    void ablate() {
        std::vector<Run> runs{done({baseline, best_rate(), options_.batch_size})};
        for (const Variant& each : ablations) runs.push_back(done({each, best_rate(), options_.batch_size}));
        runs.push_back(done({without_norm, best_rate() / 3, options_.batch_size}));
        std::vector<std::string> names;
        for (const Run& run : runs) names.push_back(run.variant.name);
        names.back() += ", rate / 3";
        report("Ablations", "ablations", names, runs);
    }

private:
    static std::string text_of(double number) {
        char text[32];
        std::snprintf(text, sizeof text, "%.3g", number);
        return text;
    }

    const Run& done(Run run) {
        for (const Run& before : runs_)
            if (before.variant.make == run.variant.make && before.rate == run.rate &&
                before.batch_size == run.batch_size)
                return before;
        std::fprintf(stderr, "%s, rate %.3g, batch %d ...\n", run.variant.name, run.rate, run.batch_size);
        train(run, data_, options_);
        std::fprintf(stderr, "  %lld steps in %.1f s: held-out loss %.3f\n",
                     static_cast<long long>(run.steps), run.seconds, run.loss);
        runs_.push_back(std::move(run));
        return runs_.back();
    }

    /// Of the baseline; the middle one of those given where none has been tried.
    double best_rate() const {
        const Run* best = nullptr;
        for (const Run& run : runs_)
            if (run.variant.make == baseline.make && run.batch_size == options_.batch_size &&
                (!best || run.loss < best->loss))
                best = &run;
        return best ? best->rate : options_.rates[options_.rates.size() / 2];
    }

    void report(const char* title, const std::string& file, const std::vector<std::string>& names,
                const std::vector<Run>& runs) const {
        std::printf(
            "\n%s\n\n| run | rate | batch | parameters | steps | seconds | held-out loss | bits per byte |\n"
            "|---|---|---|---|---|---|---|---|\n",
            title);
        CurvePlot plot{title, "thousands of tokens seen", "held-out cross-entropy (nats a token)", {}};
        for (std::size_t i = 0; i < runs.size(); ++i) {
            const Run& run = runs[i];
            std::printf("| %s | %.3g | %d | %lld | %lld | %.1f |", names[i].c_str(), run.rate, run.batch_size,
                        static_cast<long long>(run.parameters), static_cast<long long>(run.steps),
                        run.seconds);
            if (std::isfinite(run.loss))
                std::printf(" %.3f | %.3f |\n", run.loss, run.loss / std::log(2.0) / data_.bytes_per_token);
            else
                std::printf(" diverged | |\n");
            CurveSeries series{names[i], run.curve};
            // What is worse than a guess would only flatten the rest.
            for (CurvePoint& point : series.points)
                if (point.y > 1.1 * std::log(options_.sizes.vocabulary))
                    point.y = std::numeric_limits<double>::quiet_NaN();
            plot.series.push_back(std::move(series));
        }
        const std::string path = options_.folder + "/" + file + ".svg";
        write_svg(path, plot);
        std::printf("\ncurves: %s\n", path.c_str());
    }

    const Data& data_;
    const Options& options_;
    std::vector<Run> runs_;
};

/// The numbers of a flag, separated by commas.
std::vector<double> numbers(const Arguments& arguments, std::string_view flag, std::string_view otherwise) {
    const std::string text = arguments.text(flag, otherwise);
    std::vector<double> result;
    const char *at = text.data(), *last = at + text.size();
    while (true) {
        double number = 0;
        const auto [end, error] = std::from_chars(at, last, number);
        if (error != std::errc() || (end != last && *end != ',') || !(number > 0) || !(number <= 1e6))
            arguments.fail("expected " + std::string(flag) + " to be positive numbers such as 1,2,4, got \"" +
                           text + "\"");
        result.push_back(number);
        if (end == last) return result;
        at = end + 1;
    }
}

Options read_options(int count, char** values) {
    const Arguments arguments(
        count, values, "cs336 [TEXT...] [--out FOLDER] [--tokens NUMBER] ...",
        {{"--out", "FOLDER", "where the curves go (cs336_curves)"},
         {"--only", "NAME", "all, rates, batches or ablations (all)"},
         {"--tokens", "NUMBER", "how many tokens each run sees (600000)"},
         {"--seconds", "NUMBER", "how long each run trains, whatever it then sees"},
         {"--rates", "NUMBERS", "learning rates (3e-4,1e-3,3e-3,1e-2,3e-2,1e-1)"},
         {"--batches", "NUMBERS", "batch sizes (1,4,16,64)"},
         {"--batch", "NUMBER", "batch size of all other runs (4)"},
         {"--vocabulary", "NUMBER", "tokens (512)"},
         {"--context", "NUMBER", "tokens of a passage (128)"},
         {"--width", "NUMBER", "of the model (96)"},
         {"--depth", "NUMBER", "number of blocks (4)"},
         {"--heads", "NUMBER", "of attention (4)"},
         {"--hidden", "NUMBER", "width within the feed-forward layer (8/3 of the width)"},
         {"--seed", "NUMBER", "of all random numbers (1)"}});
    Options options;
    options.texts = arguments.positional();
    if (options.texts.empty()) options.texts = {TENON_HEADERS};  // a text that is certainly there
    options.folder = arguments.text("--out", "cs336_curves");
    options.only = arguments.one_of("--only", {"all", "rates", "batches", "ablations"});
    options.tokens = arguments.integer("--tokens", 600'000, 1);
    options.seconds = arguments.number("--seconds", 0);
    options.rates = numbers(arguments, "--rates", "3e-4,1e-3,3e-3,1e-2,3e-2,1e-1");
    options.batch_sizes = numbers(arguments, "--batches", "1,4,16,64");
    for (const double size : options.batch_sizes)
        if (size != std::floor(size)) arguments.fail("expected --batches to be whole numbers");
    options.batch_size = static_cast<int>(arguments.integer("--batch", 4, 1, 1 << 20));
    options.seed = seed(static_cast<std::uint64_t>(arguments.integer("--seed", 1)));
    options.sizes = read_sizes(arguments);
    return options;
}

int main(int count, char** values) {
    return run_program([&] {
        const Options options = read_options(count, values);
        const Data data = read_data(options.texts, options.sizes.vocabulary, options.sizes.context);
        create_folder(options.folder);
        Experiments experiments(data, options);
        const auto wanted = [&](const char* name) { return options.only == "all" || options.only == name; };
        if (wanted("rates")) experiments.learning_rates();
        if (wanted("batches")) experiments.batch_sizes();
        if (wanted("ablations")) experiments.ablate();
    });
}
