// Trains a tokenizer and a Transformer on text, and leaves both in a folder that `generate` writes from.
//
// The model's shape is a type: change the numbers of `Small` and compile again.

#include <cmath>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <tenon/files.hpp>
#include <tenon/tenon.hpp>
#include <tenon/tokenizer.hpp>

#include "arguments.hpp"
#include "llama_folder.hpp"
#include "texts.hpp"

using namespace tenon;

struct Small : TransformerDefaults {
    static constexpr int vocabulary = 1024, context = 256, width = 192, depth = 4, heads = 6, hidden = 512;
    static constexpr RotaryPairs rotary_pairs = RotaryPairs::half_split;  // as the folder's form has it
};
using Model = Transformer<Small>;
using Token = std::uint16_t;
constexpr int batch_size = 4;

struct Options {
    std::string folder;
    double seconds;      // how long to train, unless `steps` says it
    std::int64_t steps;  // 0: as long as `seconds`
    double rate;         // the greatest
    Seed seed;
};

/// Trains on random passages of the tokens. Metrics and the curve of the loss go to the folder.
void train(Trainable<Model>& model, std::span<const Token> tokens, const Options& options) {
    AdamW optimizer{model, {.beta2 = 0.95, .decay = 0.1}};
    const RandomBatches<batch_size, Small::context, Token> batches(tokens, options.seed);
    // The schedule runs over thousandths of the run, whether that is measured in steps or in seconds.
    const CosineSchedule schedule{
        .maximum = options.rate, .minimum = options.rate / 30, .warmup = 30, .end = 1000};
    MetricsWriter metrics(options.folder + "/metrics.jsonl");
    CurveSeries curve{"training loss", {}};
    Progress progress(options.steps > 0 ? options.steps : static_cast<std::int64_t>(options.seconds),
                      options.steps > 0 ? "training, steps" : "training, seconds");

    const double begin = monotonic_seconds();
    double done = 0, smooth_loss = 0, seconds = 0;
    std::int64_t step = 0, seen = 0;
    while (done < 1) {
        const auto [inputs, targets] = batches(step);
        const auto loss = cross_entropy(model(inputs), targets);
        backward(loss);
        const double norm = optimizer.clip(1.0);
        optimizer.rate = schedule(static_cast<std::int64_t>(1000 * done) + 1);
        optimizer.step();

        const double value = loss.item();
        if (!std::isfinite(value)) throw Error("the loss is not finite at step " + std::to_string(step));
        ++step;
        seen += inputs.size();
        seconds = monotonic_seconds() - begin;
        done = options.steps > 0 ? static_cast<double>(step) / static_cast<double>(options.steps)
                                 : seconds / options.seconds;
        smooth_loss = step == 1 ? value : 0.95 * smooth_loss + 0.05 * value;
        char shown[32];
        std::snprintf(shown, sizeof shown, "loss %.3f", smooth_loss);
        progress.update(options.steps > 0 ? step : static_cast<std::int64_t>(seconds), seen, shown);
        if (step % 10 == 1) {
            metrics.write({{"step", step},
                           {"loss", value},
                           {"gradient_norm", norm},
                           {"rate", optimizer.rate},
                           {"tokens_per_second", static_cast<double>(seen) / seconds}});
            curve.points.push_back({static_cast<double>(step), smooth_loss});
        }
    }
    progress.finish();
    write_svg(options.folder + "/loss.svg", {"Training", "step", "cross-entropy (nats a token)", {curve}});
    std::printf("trained: %lld steps in %.0f s, %.0f tokens/s\n", static_cast<long long>(step), seconds,
                static_cast<double>(seen) / seconds);
}

/// Prints how many bits the model needs for a byte of text that it has not seen, beside a byte model's. True
/// if fewer.
bool evaluate_held_out(const Model& model, std::span<const Token> tokens, const Texts& texts) {
    const std::string held_out = joined(texts.held_out);
    const double nats = total_cross_entropy(model, tokens, batch_size, Small::context);
    const double model_bits = bits_per_byte(nats, static_cast<std::int64_t>(held_out.size()));
    ByteNgram bytes;
    bytes.fit(joined(texts.training));
    const double byte_bits = bytes.bits_per_byte(held_out);
    std::printf("held-out bits per byte: %.3f; of an order-3 byte model fitted on the same text: %.3f\n",
                model_bits, byte_bits);
    const bool has_learned = model_bits < byte_bits;
    std::printf("the model has %slearned more than the byte model\n", has_learned ? "" : "NOT ");
    return has_learned;
}

/// Encodes texts into a token file, an end token before each: every token that stands for bytes has one to
/// follow.
void write_tokens(const BytePairTokenizer& tokenizer, const std::vector<std::string>& texts,
                  const std::string& path) {
    const TokenId end = tokenizer.token_id(end_of_text).value();
    TokenFileWriter<Token> writer(path);
    for (const std::string& text : texts) {
        writer.append(std::span(&end, 1));
        writer.append(std::span<const TokenId>(tokenizer.encode(text)));
    }
    writer.commit();
}

int main(int count, char** values) {
    return run_program([&] {
        const Arguments arguments(count, values,
                                  "train_lm [TEXT...] [--out FOLDER] [--minutes NUMBER] [--seed NUMBER]",
                                  {{"--out", "FOLDER", "where tokenizer and model go (tenon_model)"},
                                   {"--minutes", "NUMBER", "how long to train (3.3)"},
                                   {"--steps", "NUMBER", "how many steps to train, instead of minutes"},
                                   {"--rate", "NUMBER", "greatest learning rate (0.003)"},
                                   {"--seed", "NUMBER", "of all random numbers (1)"}});
        const Options options{.folder = arguments.text("--out", "tenon_model"),
                              .seconds = 60 * arguments.number("--minutes", 3.3, 0.01),
                              .steps = arguments.has("--steps") ? arguments.integer("--steps", {}, 1) : 0,
                              .rate = arguments.number("--rate", 3e-3),
                              .seed = seed(static_cast<std::uint64_t>(arguments.integer("--seed", 1)))};
        // Text that is certainly there: the headers of this library and of Eigen.
        const bool is_default = arguments.positional().empty();
        const Texts texts = read_texts(is_default ? std::vector<std::string>{TENON_HEADERS, EIGEN_HEADERS}
                                                  : arguments.positional());
        const double training_size = size_of(texts.training), held_out_size = size_of(texts.held_out);
        if (training_size < 10'000 || held_out_size < 100)
            throw Error("expected a text of at least 11 kB, got " +
                        std::to_string(static_cast<long>(training_size)) + " bytes to train on and " +
                        std::to_string(static_cast<long>(held_out_size)) + " held out");
        std::printf("text: %.2f MB to train on, %.2f MB held out\n", training_size / 1e6,
                    held_out_size / 1e6);

        const BytePairTokenizer tokenizer =
            train_byte_pair_tokenizer(joined(texts.training), Small::vocabulary, {end_of_text});
        create_folder(options.folder);
        write_tokens(tokenizer, texts.training, options.folder + "/training.tokens");
        write_tokens(tokenizer, texts.held_out, options.folder + "/held_out.tokens");
        const TokenFile<Token> training(options.folder + "/training.tokens"),
            held_out(options.folder + "/held_out.tokens");
        std::printf("tokenizer: %zu entries, %.2f bytes a token\n", tokenizer.vocabulary_size(),
                    training_size / static_cast<double>(training.size()));
        std::printf("model: %lld parameters, %d threads\n", static_cast<long long>(parameter_count<Model>()),
                    thread_count());

        write_file(options.folder + "/metrics.jsonl", "");
        Trainable<Model> model{options.seed};
        train(model, training.tokens(), options);
        save_llama(model, tokenizer, options.folder);
        const bool has_learned = evaluate_held_out(Model(model), held_out.tokens(), texts);
        if (is_default && !has_learned)
            throw Error("the model should have learned more: give it more --minutes");
    });
}
