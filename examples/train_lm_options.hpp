#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/core/random.hpp>
#include <tenon/training/interval.hpp>

#include "arguments.hpp"

/// What the command line of train_lm says.
struct Options {
    std::string folder;
    std::vector<std::pair<std::vector<std::string>, double>> corpora;  // paths, and the weight of each
    bool is_default_text = false;
    double seconds = 0;      // how long to train, unless `steps` says it
    std::int64_t steps = 0;  // 0: as long as `seconds`
    double rate = 0;         // the greatest
    std::string optimizer, schedule;
    int accumulate = 1;     // batches to a step
    double peak_flops = 0;  // a second, of where it trains; 0: as far as that is known
    tenon::Seed seed;
    bool resume = false;
    int keep = 3;
    tenon::Interval checkpoint, evaluate, sample;

    std::string checkpoints() const { return folder + "/checkpoints"; }
    std::string metrics_path() const { return folder + "/metrics.jsonl"; }
    std::string best_path() const { return folder + "/best.safetensors"; }
    std::string held_out_path() const { return folder + "/held_out.tokens"; }
    std::string corpus_path(std::size_t number) const {
        return folder + "/training" + (number > 0 ? "-" + std::to_string(number) : "") + ".tokens";
    }
    std::string curve_path() const { return folder + "/loss.svg"; }
    /// Whatever a run writes into the folder itself.
    std::vector<std::string> files() const {
        std::vector<std::string> files = {metrics_path(), best_path(), held_out_path(), curve_path()};
        for (std::size_t i = 0; i < corpora.size(); ++i) files.push_back(corpus_path(i));
        for (const char* name : {"config.json", "model.safetensors", "vocab.json", "merges.txt"})
            files.push_back(folder + "/" + name);
        return files;
    }
    std::string length() const {
        return steps > 0 ? std::to_string(steps) + " steps" : std::to_string(seconds) + " s";
    }
};

/// Reads the command line. Throws what `Arguments` throws.
inline Options read_options(int count, char** values, const std::vector<std::string>& default_text) {
    const Arguments arguments(
        count, values, "train_lm [TEXT...] [--out FOLDER] [--minutes NUMBER] [--seed NUMBER] [--resume] ...",
        {{"--out", "FOLDER", "where tokenizer and model go (tenon_model)"},
         {"--corpus", "PATH:WEIGHT", "one of several texts, mixed by weight; may come several times"},
         {"--minutes", "NUMBER", "how long to train (3.3)"},
         {"--steps", "NUMBER", "how many steps to train, instead of minutes"},
         {"--rate", "NUMBER", "greatest learning rate (0.003)"},
         {"--optimizer", "NAME", "adamw, lion, muon or sgd (adamw)"},
         {"--schedule", "NAME", "cosine, or wsd: warmup, stable, decay (cosine)"},
         {"--accumulate", "NUMBER", "batches whose gradients make one step (1)"},
         {"--resume", "", "go on from the newest checkpoint of the folder"},
         {"--checkpoint-every", "INTERVAL", "steps, 90s or 10m; 0: never (5m)"},
         {"--keep", "NUMBER", "how many checkpoints stay (3)"},
         {"--evaluate-every", "INTERVAL", "judge by held-out text, and keep the best (0)"},
         {"--sample-every", "INTERVAL", "let the model write (0)"},
         {"--peak", "TFLOPS", "dense peak of where it trains, for the share used (as known of a GPU)"},
         {"--seed", "NUMBER", "of all random numbers (1)"}});
    const auto interval = [&](std::string_view flag, std::string_view otherwise) {
        const std::string text = arguments.text(flag, otherwise);
        const auto parsed = tenon::Interval::parse(text);
        if (!parsed)
            arguments.fail("expected " + std::string(flag) +
                           " to be steps (500) or a time (90s, 10m), got \"" + text + "\"");
        return *parsed;
    };
    Options options;
    options.folder = arguments.text("--out", "tenon_model");
    if (!arguments.positional().empty()) options.corpora.emplace_back(arguments.positional(), 1.0);
    for (const auto& [path, weight] : arguments.weighted("--corpus"))
        options.corpora.emplace_back(std::vector{path}, weight);
    options.is_default_text = options.corpora.empty();
    if (options.is_default_text) options.corpora.emplace_back(default_text, 1.0);
    options.seconds = 60 * arguments.number("--minutes", 3.3, 0.01);
    options.steps = arguments.has("--steps") ? arguments.integer("--steps", {}, 1) : 0;
    options.rate = arguments.number("--rate", 3e-3);
    options.optimizer = arguments.one_of("--optimizer", {"adamw", "lion", "muon", "sgd"});
    options.schedule = arguments.one_of("--schedule", {"cosine", "wsd"});
    options.accumulate = static_cast<int>(arguments.integer("--accumulate", 1, 1, 1 << 20));
    options.peak_flops = arguments.has("--peak") ? 1e12 * arguments.number("--peak", {}, 1e-6) : 0;
    options.seed = tenon::seed(static_cast<std::uint64_t>(arguments.integer("--seed", 1)));
    options.resume = arguments.has("--resume");
    options.keep = static_cast<int>(arguments.integer("--keep", 3, 1));
    options.checkpoint = interval("--checkpoint-every", "5m");
    options.evaluate = interval("--evaluate-every", "0");
    options.sample = interval("--sample-every", "0");
    return options;
}
