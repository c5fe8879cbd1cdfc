#pragma once

#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <tenon/data/byte_ngram.hpp>
#include <tenon/files.hpp>
#include <tenon/model/accounting.hpp>
#include <tenon/model/llama.hpp>
#include <tenon/optim/schedule.hpp>
#include <tenon/tokenizer/tokenizer.hpp>
#include <tenon/training/progress.hpp>

#include "arguments.hpp"
#include "learner.hpp"
#include "llama_folder.hpp"
#include "texts.hpp"
#include "train_lm_data.hpp"
#include "train_lm_options.hpp"

/// Where the program trains.
struct Place {
    std::string name;       ///< "2 threads"
    double peak_flops = 0;  ///< floating-point operations a second at most; 0: unknown
};

using namespace tenon;

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
template <class Device, Precision P>
struct Run {
    Run(const Options& options) : learner(options.seed, options.optimizer) {}

    Learner<Device, P> learner;
    std::int64_t step = 0, seen = 0;  // steps done, tokens seen
    double seconds = 0, smooth_loss = 0;
    std::int64_t judged_step = 0, best_step = 0;                 // 0: none was
    double best_bits = std::numeric_limits<double>::infinity();  // a held-out byte

    /// Views all that a checkpoint holds.
    TrainingState state(const Data& data, const Options& options) {
        TrainingState state;
        learner.add_to(state);
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
template <class Device, Precision P>
void judge(Run<Device, P>& run, const Data& data, MetricsWriter& metrics, const Options& options) {
    const Evaluation now =
        run.learner.evaluate(data.held_out.tokens(), static_cast<std::int64_t>(data.held_out_text.size()));
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
    save_parameters(run.learner.model, options.best_path(), Llama::names);
}

/// Lets the model write; the text is a function of the model, the seed and the step.
template <class Device, Precision P>
void show_sample(const Run<Device, P>& run, const Tokenizer& tokenizer, const Options& options) {
    const auto end = static_cast<Token>(tokenizer.token_id(end_of_text).value());
    const Philox random(options.seed, static_cast<std::uint64_t>(run.step));
    std::vector<TokenId> written;
    for (const Token id : run.learner.write(end, end, random))
        if (id != end && id < tokenizer.vocabulary_size())  // a model's vocabulary may be larger
            written.push_back(id);
    std::printf("step %lld writes:\n%s\n", static_cast<long long>(run.step),
                tokenizer.decode(written).c_str());
}

/// Takes up a run where its newest checkpoint left it, if it has one.
template <class Device, Precision P>
void resume(Run<Device, P>& run, const TrainingState& state, const Options& options) {
    const auto resumed = load_training(options.checkpoints(), state);
    if (!resumed) return;
    for (const std::string& note : resumed->notes) std::fprintf(stderr, "%s\n", note.c_str());
    std::printf("resumed at step %lld, from %s\n", static_cast<long long>(run.step), resumed->path.c_str());
    keep_metrics_until(options.metrics_path(), run.step);
}

/// A run has gone wrong at a step: names the first tensor that did, and keeps what the run is if the step has
/// changed nothing yet.
template <class Device, Precision P>
[[noreturn]] void stop(Run<Device, P>& run, std::int64_t step, const TrainingState& state,
                       const Batches& batches, const Options& options) {
    const auto parameter = run.learner.first_non_finite_parameter();
    const auto found =
        parameter ? parameter : run.learner.first_non_finite(batches, step, options.accumulate);
    std::string failure;
    try {
        if (!parameter && step == run.step)
            save_training(options.checkpoints(), run.step, state, INT32_MAX);  // earlier ones stay, too
    } catch (const Error& error) {
        failure = std::string("; the state before this step could not be kept: ") + error.what();
    }
    const std::vector<std::int64_t> steps = checkpoint_steps(options.checkpoints());
    throw Error("a loss, gradient or parameter is not finite at step " + std::to_string(step) + ": " +
                (found ? found->text() : "a sum of finite numbers overflows") + failure +
                "; the last good state is " +
                (steps.empty() ? "lost: there was no checkpoint yet"
                               : "in " + checkpoint_path(options.checkpoints(), steps.back())));
}

/// Trains on random passages of the tokens. Checkpoints, metrics and the curve of the loss go to the folder.
template <class Device, Precision P>
void train(Run<Device, P>& run, const Data& data, const Place& place, const Options& options) {
    std::vector<Corpus<Token>> corpora;
    for (const TrainingCorpus& corpus : data.corpora)
        corpora.push_back({corpus.file.tokens(), corpus.weight});
    const Batches batches(std::move(corpora), options.seed);
    run.learner.train_on(batches, options.accumulate);
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
    // An update may overflow though loss and gradient are finite: that must not replace the last good state.
    const auto require_finite = [&] {
        if (run.learner.first_non_finite_parameter()) stop(run, run.step, state, batches, options);
    };
    // What is known of a step: on a GPU, while the next runs.
    const auto note = [&](const std::optional<StepReport>& report) {
        if (!report) return;
        if (!report->is_finite()) stop(run, report->step, state, batches, options);
        const std::int64_t done = report->step + 1;
        run.smooth_loss = done == 1 ? report->loss : 0.95 * run.smooth_loss + 0.05 * report->loss;
        if (done % 10 != 1) return;
        std::vector<Metric> line = metrics_of(*report);
        line.emplace_back("smooth_loss", run.smooth_loss);
        line.emplace_back("tokens_per_second", static_cast<double>(run.seen) / run.seconds);
        metrics.write(line);
        curve.points.push_back({static_cast<double>(done), run.smooth_loss});
    };

    while (share_done() < 1) {
        const auto report = run.learner.step(run.step, rate_at(share_done(), options));
        if (report && !report->is_finite()) stop(run, report->step, state, batches, options);
        ++run.step;
        run.seen += std::int64_t{options.accumulate} * batch_size * Small::context;
        run.seconds = monotonic_seconds() - begin;
        note(report);
        char text[32];
        std::snprintf(text, sizeof text, "loss %.3f", run.smooth_loss);
        progress.update(shown(), run.seen - seen_before, text);
        const bool judges = evaluation.is_due(run.step, run.seconds),
                   shows = sample.is_due(run.step, run.seconds),
                   saves = checkpoint.is_due(run.step, run.seconds);
        if (judges || shows || saves) {
            note(run.learner.last_report());
            progress.clear();
        }
        if (judges) judge(run, data, metrics, options);
        if (shows) show_sample(run, data.tokenizer, options);
        if (saves) {
            require_finite();
            save_training(options.checkpoints(), run.step, state, options.keep);
        }
    }
    note(run.learner.last_report());
    progress.finish();
    require_finite();
    if (run.judged_step > 0 && run.judged_step < run.step) judge(run, data, metrics, options);
    // A run that has checkpoints can be made longer: its end is one of them.
    if (!checkpoint_steps(options.checkpoints()).empty())
        save_training(options.checkpoints(), run.step, state, options.keep);
    write_svg(options.curve_path(), {"Training", "step", "cross-entropy (nats a token)", {curve}});
    const double tokens_a_second = static_cast<double>(run.seen) / run.seconds;
    std::printf("trained: %lld steps in %.0f s, %.0f tokens/s", static_cast<long long>(run.step), run.seconds,
                tokens_a_second);
    const double peak = options.peak_flops > 0 ? options.peak_flops : place.peak_flops;
    if (peak > 0) {
        constexpr double flops = training_flops<typename Learner<Device, P>::Model>().total();
        std::printf(", %.1f %% of the %.4g TFLOP/s of %s\n",
                    100 * model_flops_utilization(flops, tokens_a_second, peak), peak / 1e12,
                    place.name.c_str());
    } else {
        std::printf("; what share of its peak that is, is not known for %s: give the peak by --peak TFLOPS\n",
                    place.name.c_str());
    }
}

/// Prints how many bits the model needs for a byte of text that it has not seen, beside a byte model's. True
/// if fewer.
template <class Device, Precision P>
bool has_learned(const Run<Device, P>& run, const Data& data) {
    const Evaluation model =
        run.learner.evaluate(data.held_out.tokens(), static_cast<std::int64_t>(data.held_out_text.size()));
    ByteNgram bytes;
    bytes.fit(data.training_text);
    const double byte_bits = bytes.bits_per_byte(data.held_out_text);
    std::printf("held-out bits per byte: %.3f; of an order-3 byte model fitted on the same text: %.3f\n",
                model.bits_per_byte, byte_bits);
    const bool has_learned = model.bits_per_byte < byte_bits;
    std::printf("the model has %slearned more than the byte model\n", has_learned ? "" : "NOT ");
    return has_learned;
}

/// The program, on a device; `place_of()` says what that is.
template <class Device, Precision P, class PlaceOf>
int train_lm(int count, char** values, const PlaceOf& place_of) {
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
        const Place place = place_of();
        std::printf("model: %lld parameters, %s\n",
                    static_cast<long long>(parameter_count<typename Learner<Device, P>::Model>()),
                    place.name.c_str());
        if (!has_checkpoint) write_file(options.metrics_path(), "");
        Run<Device, P> run(options);
        train(run, data, place, options);
        if (run.best_step > 0 && run.best_step < run.step) {
            std::printf("the model of step %lld, the best on held-out text, is kept\n",
                        static_cast<long long>(run.best_step));
            load_parameters(run.learner.model, Safetensors::open(options.best_path()), Llama::names);
        }
        save_llama(run.learner.model, data.tokenizer, options.folder);
        if (!has_learned(run, data) && options.is_default_text)
            throw Error("the model should have learned more: give it more --minutes");
    });
}
