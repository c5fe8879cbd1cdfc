// Trains a tokenizer and a Transformer on text, and leaves both in a folder that `generate` writes from. A
// run that was killed goes on from its last checkpoint with --resume, as if nothing had happened.
//
// The model's shape is a type: change the numbers of `Small` and compile again.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <tenon/files.hpp>
#include <tenon/tenon.hpp>
#include <tenon/tokenizer.hpp>

#include "arguments.hpp"
#include "llama_folder.hpp"
#include "texts.hpp"
#include "train_lm_data.hpp"
#include "train_lm_options.hpp"

using namespace tenon;

struct Small : TransformerDefaults {
    static constexpr int vocabulary = 1024, context = 256, width = 192, depth = 4, heads = 6, hidden = 512;
    static constexpr RotaryPairs rotary_pairs = RotaryPairs::half_split;  // as the folder's form has it
};
using Model = Transformer<Small>;
constexpr int batch_size = 4;

using SharedOptimizer = Optimizer<float, float, Cpu>;  // what all of them share
using AnyOptimizer = std::variant<AdamW<float, float, Cpu>, Lion<float, float, Cpu>, Muon<float, float, Cpu>,
                                  SGD<float, float, Cpu>>;

AnyOptimizer make_optimizer(const std::string& name, Trainable<Model>& model) {
    if (name == "lion") return Lion{model};
    if (name == "muon") return Muon{model};
    if (name == "sgd") return SGD{model, {.momentum = 0.9}};
    return AdamW{model, {.beta2 = 0.95, .decay = 0.1}};
}

/// The rate once a share of the run is done. Schedules run over its thousandths, whether its length is told
/// in steps or in seconds.
double rate_at(double done, const Options& options) {
    const auto thousandth = static_cast<std::int64_t>(1000 * done) + 1;
    if (options.schedule == "wsd")
        return WarmupStableDecaySchedule{
            .maximum = options.rate, .warmup = 30, .decay = 200, .end = 1001}(thousandth);
    return CosineSchedule{
        .maximum = options.rate, .minimum = options.rate / 30, .warmup = 30, .end = 1000}(thousandth);
}

/// A run: everything that training changes.
struct Run {
    Run(const Options& options)
        : model(options.seed), plain(model), optimizer(make_optimizer(options.optimizer, model)) {}

    Trainable<Model> model;
    Model plain;  // only runs forward, on the same parameters
    AnyOptimizer optimizer;
    SharedOptimizer& shared() {
        return std::visit([](auto& any) -> SharedOptimizer& { return any; }, optimizer);
    }
    std::int64_t step = 0, seen = 0;  // steps done, tokens seen
    double seconds = 0, smooth_loss = 0;
    std::int64_t judged_step = 0, best_step = 0;                 // 0: none was
    double best_bits = std::numeric_limits<double>::infinity();  // a held-out byte

    /// Views all that a checkpoint holds.
    TrainingState state(const Data& data, const Options& options) {
        TrainingState state;
        state.add_parameters("model", model);
        state.add_part("optimizer", shared());
        state.add_value("step", step);
        state.add_value("seen", seen);
        state.add_value("seconds", seconds);
        state.add_value("smooth_loss", smooth_loss);
        state.add_value("judged_step", judged_step);
        state.add_value("best_step", best_step);
        state.add_value("best_bits", best_bits);
        state.add_setting("seed", std::to_string(options.seed.value));
        state.add_setting("optimizer", options.optimizer);
        state.add_setting("batch", std::to_string(options.accumulate) + " x " + std::to_string(batch_size) +
                                       " x " + std::to_string(Small::context));
        for (std::size_t i = 0; i < data.corpora.size(); ++i) {
            const TrainingCorpus& corpus = data.corpora[i];
            state.add_setting("corpus " + std::to_string(i), "text of checksum " + corpus.text_checksum +
                                                                 ", " + std::to_string(corpus.file.size()) +
                                                                 " tokens of checksum " +
                                                                 checksum_of(corpus.file.tokens()) +
                                                                 ", weight " + std::to_string(corpus.weight));
        }
        state.add_setting("held out", "text of checksum " + checksum_of(data.held_out_text));
        state.add_setting("length", options.length(), true);
        state.add_setting("rate", std::to_string(options.rate), true);
        state.add_setting("schedule", options.schedule, true);
        return state;
    }
};

/// Judges the model by held-out text, and keeps the best.
void judge(Run& run, const Data& data, MetricsWriter& metrics, const Options& options) {
    const Evaluation now =
        evaluate(run.plain, data.held_out.tokens(), static_cast<std::int64_t>(data.held_out_text.size()),
                 batch_size, Small::context);
    metrics.write({{"step", run.step},
                   {"held_out_loss", now.loss},
                   {"held_out_perplexity", now.perplexity},
                   {"held_out_bits_per_byte", now.bits_per_byte}});
    run.judged_step = run.step;
    const bool is_best = now.bits_per_byte < run.best_bits;
    std::printf("step %lld: held-out perplexity %.3f, bits per byte %.4f%s\n",
                static_cast<long long>(run.step), now.perplexity, now.bits_per_byte,
                is_best ? ", the best" : "");
    if (!is_best) return;
    run.best_bits = now.bits_per_byte;
    run.best_step = run.step;
    save_parameters(run.model, options.best_path(), Llama::names);
}

/// Lets the model write; the text is a function of the model, the seed and the step. It is short: a cache of
/// keys and values would cost more to compile than it saves.
void show_sample(const Run& run, const BytePairTokenizer& tokenizer, const Options& options) {
    const TokenId end = tokenizer.token_id(end_of_text).value();
    const Philox random(options.seed, static_cast<std::uint64_t>(run.step));
    std::vector<Token> ids{static_cast<Token>(end)};
    constexpr std::size_t longest = std::min(80, Small::context);
    while (ids.size() < longest && (ids.size() == 1 || ids.back() != end)) {
        const auto batch = Tensor<Token, Shape<dyn, dyn>>::from(ids, 1, static_cast<int>(ids.size()));
        const Tensor logits = run.plain(batch).last().tensor();
        ids.push_back(
            static_cast<Token>(sample(logits.data(), Small::vocabulary, {.temperature = 0.8, .top_p = 0.95},
                                      random.uniform(ids.size()))));
    }
    std::vector<TokenId> written;
    for (const Token id : ids)  // a model's vocabulary may be larger than its tokenizer's
        if (id != end && id < tokenizer.vocabulary_size()) written.push_back(id);
    std::printf("step %lld writes:\n%s\n", static_cast<long long>(run.step),
                tokenizer.decode_text(written).c_str());
}

/// Takes up a run where its newest checkpoint left it, if it has one.
void resume(Run& run, const TrainingState& state, const Options& options) {
    const auto resumed = load_training(options.checkpoints(), state);
    if (!resumed) return;
    for (const std::string& note : resumed->notes) std::fprintf(stderr, "%s\n", note.c_str());
    std::printf("resumed at step %lld, from %s\n", static_cast<long long>(run.step), resumed->path.c_str());
    keep_metrics_until(options.metrics_path(), run.step);
}

/// A run has gone wrong: names the first tensor that did, and keeps what the run is if its step has changed
/// nothing yet.
template <class BatchOf>
[[noreturn]] void stop(Run& run, const TrainingState& state, BatchOf&& batch, const Options& options) {
    const auto parameter = first_non_finite_parameter(run.model);
    // Lengths that are open, as in judging: the passes are compiled already.
    const auto ids_of = [&](int part) { return Tensor<Token, Shape<dyn, dyn>>(batch(part).inputs); };
    const auto found =
        parameter ? parameter : first_non_finite(run.model, run.plain, options.accumulate, ids_of);
    std::string failure;
    try {
        if (!parameter)
            save_training(options.checkpoints(), run.step, state, INT32_MAX);  // earlier ones stay, too
    } catch (const Error& error) {
        failure = std::string("; the state before this step could not be kept: ") + error.what();
    }
    const std::vector<std::int64_t> steps = checkpoint_steps(options.checkpoints());
    throw Error("a loss, gradient or parameter is not finite at step " + std::to_string(run.step) + ": " +
                (found ? found->text() : "a sum of finite numbers overflows") + failure +
                "; the last good state is " +
                (steps.empty() ? "lost: there was no checkpoint yet"
                               : "in " + checkpoint_path(options.checkpoints(), steps.back())));
}

/// Trains on random passages of the tokens. Checkpoints, metrics and the curve of the loss go to the folder.
void train(Run& run, const Data& data, const Options& options) {
    std::vector<Corpus<Token>> corpora;
    for (const TrainingCorpus& corpus : data.corpora)
        corpora.push_back({corpus.file.tokens(), corpus.weight});
    const MixedBatches<batch_size, Small::context, Token> batches(std::move(corpora), options.seed);
    const TrainingState state = run.state(data, options);
    remove_unfinished_checkpoints(options.checkpoints());
    if (options.resume) resume(run, state, options);

    MetricsWriter metrics(options.metrics_path());
    CurveSeries curve{"training loss", read_metric(options.metrics_path(), "smooth_loss")};

    const bool in_steps = options.steps > 0;
    const double begin = monotonic_seconds() - run.seconds;
    const std::int64_t seen_before = run.seen;
    const auto shown = [&] { return in_steps ? run.step : static_cast<std::int64_t>(run.seconds); };
    const auto share_done = [&] {
        return in_steps ? static_cast<double>(run.step) / static_cast<double>(options.steps)
                        : run.seconds / options.seconds;
    };
    Progress progress(in_steps ? options.steps : static_cast<std::int64_t>(options.seconds),
                      in_steps ? "training, steps" : "training, seconds", shown());
    Interval checkpoint = options.checkpoint, evaluation = options.evaluate, sample = options.sample;
    for (Interval* interval : {&checkpoint, &evaluation, &sample}) interval->begin_at(run.seconds);
    SharedOptimizer& optimizer = run.shared();
    const auto number_of = [&](int part) { return options.accumulate * run.step + part; };
    const auto batch = [&](int part) { return batches(number_of(part)); };
    // An update may overflow though loss and gradient are finite: that must not replace the last good state.
    const auto require_finite = [&] {
        if (first_non_finite_parameter(run.model)) stop(run, state, batch, options);
    };

    while (share_done() < 1) {
        const double loss = accumulate_gradients(options.accumulate, [&](int part) {
            const auto [inputs, targets] = batch(part);
            if constexpr (Small::dropout > 0) {
                const DropoutKey key{options.seed, static_cast<std::uint64_t>(number_of(part))};
                return cross_entropy(run.model(inputs, key), targets);
            } else {
                return cross_entropy(run.model(inputs), targets);
            }
        });
        const double norm = std::isfinite(loss) ? optimizer.clip(1.0) : loss;
        if (!std::isfinite(norm)) stop(run, state, batch, options);
        optimizer.rate = rate_at(share_done(), options);
        std::visit([](auto& any) { any.step(); }, run.optimizer);

        ++run.step;
        run.seen += std::int64_t{options.accumulate} * batch_size * Small::context;
        run.seconds = monotonic_seconds() - begin;
        run.smooth_loss = run.step == 1 ? loss : 0.95 * run.smooth_loss + 0.05 * loss;
        char text[32];
        std::snprintf(text, sizeof text, "loss %.3f", run.smooth_loss);
        progress.update(shown(), run.seen - seen_before, text);
        if (run.step % 10 == 1) {
            metrics.write({{"step", run.step},
                           {"loss", loss},
                           {"smooth_loss", run.smooth_loss},
                           {"gradient_norm", norm},
                           {"rate", optimizer.rate},
                           {"tokens_per_second", static_cast<double>(run.seen) / run.seconds}});
            curve.points.push_back({static_cast<double>(run.step), run.smooth_loss});
        }
        if (evaluation.is_due(run.step, run.seconds)) {
            progress.clear();
            judge(run, data, metrics, options);
        }
        if (sample.is_due(run.step, run.seconds)) {
            progress.clear();
            show_sample(run, data.tokenizer, options);
        }
        if (checkpoint.is_due(run.step, run.seconds)) {
            require_finite();
            save_training(options.checkpoints(), run.step, state, options.keep);
        }
    }
    progress.finish();
    require_finite();
    if (run.judged_step > 0 && run.judged_step < run.step) judge(run, data, metrics, options);
    // A run that has checkpoints can be made longer: its end is one of them.
    if (!checkpoint_steps(options.checkpoints()).empty())
        save_training(options.checkpoints(), run.step, state, options.keep);
    write_svg(options.curve_path(), {"Training", "step", "cross-entropy (nats a token)", {curve}});
    std::printf("trained: %lld steps in %.0f s, %.0f tokens/s\n", static_cast<long long>(run.step),
                run.seconds, static_cast<double>(run.seen) / run.seconds);
}

/// Prints how many bits the model needs for a byte of text that it has not seen, beside a byte model's. True
/// if fewer.
bool has_learned(const Run& run, const Data& data) {
    const Evaluation model =
        evaluate(run.plain, data.held_out.tokens(), static_cast<std::int64_t>(data.held_out_text.size()),
                 batch_size, Small::context);
    ByteNgram bytes;
    bytes.fit(data.training_text);
    const double byte_bits = bytes.bits_per_byte(data.held_out_text);
    std::printf("held-out bits per byte: %.3f; of an order-3 byte model fitted on the same text: %.3f\n",
                model.bits_per_byte, byte_bits);
    const bool has_learned = model.bits_per_byte < byte_bits;
    std::printf("the model has %slearned more than the byte model\n", has_learned ? "" : "NOT ");
    return has_learned;
}

int main(int count, char** values) {
    return run_program([&] {
        // Text that is certainly there: the headers of this library and of Eigen.
        const Options options = read_options(count, values, {TENON_HEADERS, EIGEN_HEADERS});
        const bool has_checkpoint = !checkpoint_steps(options.checkpoints()).empty();
        if (has_checkpoint && !options.resume)
            throw Error(
                options.checkpoints() +
                ": expected no checkpoints of an earlier run; go on with --resume, or choose another --out");
        for (const std::string& path : options.files()) remove_unfinished(path);
        const Data data = prepare_data(options, Small::vocabulary, has_checkpoint);
        std::printf("model: %lld parameters, %d threads\n", static_cast<long long>(parameter_count<Model>()),
                    thread_count());
        if (!has_checkpoint) write_file(options.metrics_path(), "");
        Run run(options);
        train(run, data, options);
        if (run.best_step > 0 && run.best_step < run.step) {
            std::printf("the model of step %lld, the best on held-out text, is kept\n",
                        static_cast<long long>(run.best_step));
            load_parameters(run.model, Safetensors::open(options.best_path()), Llama::names);
        }
        save_llama(run.model, data.tokenizer, options.folder);
        if (!has_learned(run, data) && options.is_default_text)
            throw Error("the model should have learned more: give it more --minutes");
    });
}
