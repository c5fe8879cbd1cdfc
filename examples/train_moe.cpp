// Trains a mixture of experts beside a dense model that computes as much for each token, on the same text:
// the same tokens, schedule and seed. Prints a table, and draws how well each knows text that it has not
// seen.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tenon/files.hpp>
#include <tenon/model/accounting.hpp>
#include <tenon/tenon.hpp>

#include "arguments.hpp"
#include "token_data.hpp"

using namespace tenon;

struct Dense : TransformerDefaults {};
struct Mixture : TransformerDefaults {
    static constexpr bool mixture_of_experts = true;
};

struct Options {
    std::vector<std::string> texts;
    std::string folder;
    TransformerSizes sizes;  // of the dense model
    int experts = 0, experts_per_token = 0;
    double capacity_factor = 0;
    std::int64_t tokens = 0;  // that each model sees
    int batch_size = 0;
    double rate = 0;
    RoutingOptions routing;
    Seed seed;

    /// Its experts share the hidden width of the dense model: a token's have it together.
    TransformerSizes mixture() const {
        TransformerSizes mixed = sizes;
        mixed.hidden = sizes.hidden / experts_per_token;
        mixed.experts = experts;
        mixed.experts_per_token = experts_per_token;
        mixed.normalized_experts = true;
        mixed.capacity_factor = capacity_factor;
        return mixed;
    }
};

struct Run {
    std::string name;
    std::int64_t parameters = 0;
    double flops = 0;  // of a token, forward
    double tokens_per_second = 0;
    double loss = std::numeric_limits<double>::infinity();  // on held-out text at the end, nats a token
    RoutingReport routing{};                                // of the last step
    CurveSeries curve{};                                    // the loss on a sample of that text
};

/// Trains a model: AdamW, gradients clipped, a warmup of a twentieth of the run and then a cosine. Metrics of
/// its steps go to a file of its name.
template <class Features>
Run train(const std::string& name, const TransformerSizes& sizes, const RoutingOptions& routing,
          const Data& data, const Options& options) {
    Trainable<Transformer<DynamicTransformer<Features>>> model(options.seed, sizes);
    AdamW optimizer{model, {.beta2 = 0.95, .decay = 0.1}};
    const RandomBatches<dyn, dyn, Token> batches(data.training, options.seed, options.batch_size,
                                                 sizes.context);
    Trainer trainer(model, optimizer, batches, {.routing = routing});
    const std::int64_t each = std::int64_t{options.batch_size} * sizes.context,
                       steps = std::max<std::int64_t>(options.tokens / each, 1);
    const CosineSchedule schedule{options.rate, options.rate / 20, steps / 20 + 1, steps};

    Run run{name, parameter_count<Features>(model.sizes), forward_flops<Features>(model.sizes).total()};
    run.curve.name = name;
    const std::string metrics_path = options.folder + "/" + name + ".jsonl";
    write_file(metrics_path, "");
    MetricsWriter metrics(metrics_path);
    const std::span<const Token> held_out = data.held_out;
    const auto judge = [&](std::span<const Token> tokens) {
        return total_cross_entropy(model, tokens, options.batch_size, sizes.context) /
               static_cast<double>(tokens.size() - 1);
    };
    const auto note = [&](const std::optional<StepReport>& report) {
        if (!report) return;
        if (!report->is_finite())
            throw Error(name + ": the loss or its gradient is not finite at step " +
                        std::to_string(report->step) + ": give it a lower --rate");
        if (report->routing) run.routing = *report->routing;
        metrics.write(metrics_of(*report));
    };
    Progress progress(steps, name);
    double judging = 0;
    const double begin = monotonic_seconds();
    for (std::int64_t step = 0; step < steps; ++step) {
        optimizer.rate = schedule(step + 1);
        trainer.step(step);
        const auto report = trainer.report();
        note(report);
        char text[32];
        std::snprintf(text, sizeof text, "loss %.3f", report ? report->loss : 0);
        progress.update(step + 1, (step + 1) * each, text);
        if ((step + 1) * 12 / steps == step * 12 / steps) continue;
        const double before = monotonic_seconds();
        run.curve.points.push_back({static_cast<double>((step + 1) * each) / 1000,
                                    judge(held_out.first(std::max<std::size_t>(held_out.size() / 4, 2)))});
        judging += monotonic_seconds() - before;
    }
    note(trainer.last_report());
    progress.finish();
    run.tokens_per_second = static_cast<double>(steps * each) / (monotonic_seconds() - begin - judging);
    run.loss = judge(held_out);
    return run;
}

void report(const std::vector<Run>& runs, const Data& data, const Options& options) {
    std::printf(
        "\n| model | parameters | MFLOP a token | tokens/s | held-out loss | bits per byte | "
        "greatest load | router entropy | dropped |\n|---|---|---|---|---|---|---|---|---|\n");
    CurvePlot plot{"A mixture of experts and a dense model",
                   "thousands of tokens seen",
                   "held-out cross-entropy (nats a token)",
                   {}};
    for (const Run& run : runs) {
        std::printf("| %s | %lld | %.3f | %.0f | %.3f | %.3f |", run.name.c_str(),
                    static_cast<long long>(run.parameters), run.flops / 1e6, run.tokens_per_second, run.loss,
                    run.loss / std::log(2.0) / data.bytes_per_token);
        if (run.routing.greatest_load > 0)
            std::printf(" %.2f | %.2f | %.1f %% |\n", run.routing.greatest_load, run.routing.entropy,
                        100 * run.routing.dropped);
        else
            std::printf(" | | |\n");
        plot.series.push_back(run.curve);
    }
    const std::string path = options.folder + "/loss.svg";
    write_svg(path, plot);
    std::printf("\ncurves: %s; metrics of each step: %s/*.jsonl\n", path.c_str(), options.folder.c_str());
}

Options read_options(int count, char** values) {
    const Arguments arguments(
        count, values, "train_moe [TEXT...] [--out FOLDER] [--tokens NUMBER] ...",
        {{"--out", "FOLDER", "where curves and metrics go (train_moe_curves)"},
         {"--tokens", "NUMBER", "how many tokens each model sees (1000000)"},
         {"--rate", "NUMBER", "greatest learning rate (0.005)"},
         {"--batch", "NUMBER", "passages of a step (8)"},
         {"--vocabulary", "NUMBER", "tokens (512)"},
         {"--context", "NUMBER", "tokens of a passage (128)"},
         {"--width", "NUMBER", "of both models (96)"},
         {"--depth", "NUMBER", "number of blocks (4)"},
         {"--heads", "NUMBER", "of attention (4)"},
         {"--hidden", "NUMBER", "width within the dense feed-forward layer (8/3 of the width)"},
         {"--experts", "NUMBER", "of each layer (8)"},
         {"--experts-per-token", "NUMBER", "that share the hidden width (2)"},
         {"--capacity", "NUMBER", "an expert's, times a balanced share; 0: none (0)"},
         {"--balance", "NUMBER", "weight of the load-balancing loss (0.01)"},
         {"--z-loss", "NUMBER", "weight of the routers' z-loss (0.001)"},
         {"--seed", "NUMBER", "of all random numbers (1)"}});
    const auto integer = [&](const char* flag, int otherwise) {
        return static_cast<int>(arguments.integer(flag, otherwise, 1, 1 << 20));
    };
    Options options;
    options.texts = arguments.positional();
    if (options.texts.empty()) options.texts = {TENON_HEADERS};  // a text that is certainly there
    options.folder = arguments.text("--out", "train_moe_curves");
    options.tokens = arguments.integer("--tokens", 1'000'000, 1);
    options.rate = arguments.number("--rate", 5e-3);
    options.batch_size = integer("--batch", 8);
    options.experts = integer("--experts", 8);
    options.experts_per_token = integer("--experts-per-token", 2);
    options.capacity_factor = arguments.number("--capacity", 0);
    options.routing.balance = arguments.number("--balance", 0.01);
    options.routing.z_loss = arguments.number("--z-loss", 0.001);
    options.seed = seed(static_cast<std::uint64_t>(arguments.integer("--seed", 1)));
    options.sizes = read_sizes(arguments);
    if (options.sizes.hidden % options.experts_per_token != 0)
        arguments.fail("expected --hidden to be a multiple of --experts-per-token, got " +
                       std::to_string(options.sizes.hidden));
    return options;
}

int main(int count, char** values) {
    return run_program([&] {
        const Options options = read_options(count, values);
        const Data data = read_data(options.texts, options.sizes.vocabulary, options.sizes.context);
        create_folder(options.folder);
        std::vector<Run> runs;
        runs.push_back(train<Dense>("dense", options.sizes, {}, data, options));
        runs.push_back(train<Mixture>("mixture", options.mixture(), options.routing, data, options));
        report(runs, data, options);
    });
}
