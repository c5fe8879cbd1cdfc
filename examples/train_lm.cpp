// Trains a tokenizer and a Transformer on text, and leaves both in a folder that `generate` writes from.
//
// The model's shape is a type: change the numbers of `Model` and compile again.

#include <filesystem>
#include <string>
#include <vector>

#include <tenon/files.hpp>
#include <tenon/tenon.hpp>
#include <tenon/tokenizer.hpp>

#include "arguments.hpp"
#include "llama_folder.hpp"

using namespace tenon;

struct Small : TransformerDefaults {
    static constexpr int vocabulary = 1024, context = 256, width = 192, depth = 4, heads = 6, hidden = 512;
    static constexpr RotaryPairs rotary_pairs = RotaryPairs::half_split;  // as the folder's form has it
};
using Model = Transformer<Small>;
using Token = std::uint16_t;
constexpr int batch_size = 4;

struct Text {
    std::string training, held_out;
};

/// Reads files and folders. Of many files each twentieth is held out; of a single one the last twentieth of it.
Text read_text(const std::vector<std::string>& paths) {
    std::vector<std::string> files;
    for (const std::string& path : paths) {
        if (!std::filesystem::is_directory(path)) {
            files.push_back(path);
            continue;
        }
        for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
            if (entry.is_regular_file()) files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    Text text;
    for (std::size_t i = 0; i < files.size(); ++i) {
        std::string content = read_file(files[i]);
        if (files.size() < 20) {
            const std::size_t cut = content.size() - content.size() / 20;
            text.held_out += content.substr(cut);
            content.resize(cut);
        }
        (files.size() >= 20 && i % 20 == 10 ? text.held_out : text.training) += content;
    }
    return text;
}

/// Encodes a text into a token file.
void write_tokens(const BytePairTokenizer& tokenizer, const std::string& text, const std::string& path) {
    TokenFileWriter<Token> writer(path);
    writer.append(std::span<const TokenId>(tokenizer.encode(text)));
    writer.commit();
}

int main(int count, char** values) {
    return run_program([&] {
        const Arguments arguments(count, values, "train_lm [TEXT...] [--out FOLDER] [--minutes NUMBER] [--seed NUMBER]",
                                  {{"--out", "FOLDER", "where tokenizer and model go (tenon_model)"},
                                   {"--minutes", "NUMBER", "how long to train (3.3)"},
                                   {"--steps", "NUMBER", "how many steps to train, instead of minutes"},
                                   {"--rate", "NUMBER", "greatest learning rate (0.003)"},
                                   {"--seed", "NUMBER", "of all random numbers (1)"}});
        const std::string folder = arguments.text("--out", "tenon_model");
        const double seconds_allowed = 60 * arguments.number("--minutes", 3.3);
        const std::int64_t steps_allowed = arguments.integer("--steps", 0);
        const double greatest_rate = arguments.number("--rate", 3e-3);
        const Seed run_seed = seed(static_cast<std::uint64_t>(arguments.integer("--seed", 1)));
        std::vector<std::string> paths = arguments.positional(0);
        if (paths.empty()) paths = {TENON_HEADERS, EIGEN_HEADERS};

        const Text text = read_text(paths);
        std::printf("text: %.2f MB to train on, %.2f MB held out\n", text.training.size() / 1e6, text.held_out.size() / 1e6);
        create_folder(folder);
        const BytePairTokenizer tokenizer = train_byte_pair_tokenizer(text.training, Small::vocabulary, {"<|endoftext|>"});
        tokenizer.save(folder);
        write_tokens(tokenizer, text.training, folder + "/training.tokens");
        write_tokens(tokenizer, text.held_out, folder + "/held_out.tokens");
        const TokenFile<Token> training(folder + "/training.tokens"), held_out(folder + "/held_out.tokens");
        std::printf("tokenizer: %zu entries, %.2f bytes a token\n", tokenizer.vocabulary_size(),
                    static_cast<double>(text.training.size()) / static_cast<double>(training.size()));
        std::printf("model: %lld parameters, %d threads\n", static_cast<long long>(parameter_count<Model>()), thread_count());

        Trainable<Model> model{run_seed};
        AdamW optimizer{model, {.beta2 = 0.95, .decay = 0.1}};
        const RandomBatches<batch_size, Small::context, Token> batches(training.tokens(), run_seed);
        MetricsWriter metrics(folder + "/metrics.jsonl");
        CurveSeries curve{"training loss", {}};

        // The schedule runs over thousandths of the run, whether that is measured in steps or in time.
        const CosineSchedule schedule{.maximum = greatest_rate, .minimum = greatest_rate / 30, .warmup = 30, .end = 1000};
        const double begin = monotonic_seconds();
        double done = 0, smooth_loss = 0;
        Progress progress(1000, "training");
        std::int64_t step = 0;
        for (; done < 1; ++step) {
            const auto [inputs, targets] = batches(step);
            const auto loss = cross_entropy(model(inputs), targets);
            backward(loss);
            const double norm = optimizer.clip(1.0);
            optimizer.rate = schedule(static_cast<std::int64_t>(1000 * done) + 1);
            optimizer.step();

            const double value = loss.item(), seconds = monotonic_seconds() - begin;
            if (!std::isfinite(value)) throw Error("the loss is not finite at step " + std::to_string(step));
            done = steps_allowed > 0 ? static_cast<double>(step + 1) / static_cast<double>(steps_allowed) : seconds / seconds_allowed;
            smooth_loss = step == 0 ? value : 0.95 * smooth_loss + 0.05 * value;
            const std::int64_t tokens = (step + 1) * batch_size * Small::context;
            char shown[32];
            std::snprintf(shown, sizeof shown, "loss %.3f", smooth_loss);
            progress.update(static_cast<std::int64_t>(1000 * std::min(done, 1.0)), tokens, shown);
            if (step % 10 == 0) {
                metrics.write({{"step", step}, {"loss", value}, {"gradient_norm", norm}, {"rate", optimizer.rate},
                               {"tokens_per_second", static_cast<double>(tokens) / seconds}});
                curve.points.push_back({static_cast<double>(step), smooth_loss});
            }
        }
        progress.finish();
        const double training_seconds = monotonic_seconds() - begin;
        std::printf("trained: %lld steps in %.0f s, %.0f tokens/s\n", static_cast<long long>(step), training_seconds,
                    static_cast<double>(step * batch_size * Small::context) / training_seconds);

        save_llama(model, folder);
        write_svg(folder + "/loss.svg", {"Training", "step", "cross-entropy (nats a token)", {curve}});

        const Model trained(model);
        const double nats = total_cross_entropy(trained, held_out.tokens(), batch_size, Small::context);
        const double model_bits = bits_per_byte(nats, static_cast<std::int64_t>(text.held_out.size()));
        ByteNgram bytes;
        bytes.fit(text.training);
        const double byte_bits = bytes.bits_per_byte(text.held_out);
        std::printf("held-out bits per byte: %.3f; of an order-3 byte model fitted on the same text: %.3f\n", model_bits, byte_bits);
        std::printf("%s\n", model_bits < byte_bits ? "the model has learned more than the byte model" : "the model has NOT learned more than the byte model");
        metrics.write({{"step", step}, {"held_out_bits_per_byte", model_bits}, {"byte_model_bits_per_byte", byte_bits}});
    });
}
