#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <tenon/core/parallel.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/tokenizer/train.hpp>

#include "arguments.hpp"
#include "texts.hpp"

using Token = std::uint16_t;

/// What is learned, and what it is judged by.
struct Data {
    std::vector<Token> training, held_out;
    double bytes_per_token = 0;  // of the held-out text
};

/// The sizes of a small model, as --vocabulary, --context, --width, --depth, --heads and --hidden give them.
inline tenon::TransformerSizes read_sizes(const Arguments& arguments) {
    const auto integer = [&](const char* flag, int otherwise) {
        return static_cast<int>(arguments.integer(flag, otherwise, 1, 1 << 20));
    };
    tenon::TransformerSizes sizes;
    sizes.vocabulary = static_cast<int>(arguments.integer("--vocabulary", 512, 257, 65536));
    sizes.context = integer("--context", 128);
    sizes.width = integer("--width", 96);
    sizes.depth = integer("--depth", 4);
    sizes.heads = integer("--heads", 4);
    sizes.hidden = integer("--hidden", (8 * sizes.width + 2) / 3);
    return sizes;
}

/// Reads texts, and trains a tokenizer on what is not held out. Throws tenon::Error where they are too short.
inline Data read_data(const std::vector<std::string>& paths, int vocabulary, int context) {
    const Texts texts = read_texts(paths);
    const std::string training = joined(texts.training);
    // A sample is enough to judge by.
    const std::string held_out = joined(texts.held_out).substr(0, 40'000);
    const tenon::Tokenizer tokenizer =
        tenon::train_byte_pair_tokenizer(training, static_cast<std::size_t>(vocabulary), {end_of_text});
    const auto tokens = [&](const std::string& text) {
        const std::vector<tenon::TokenId> ids = tokenizer.encode_ids(text);
        return std::vector<Token>(ids.begin(), ids.end());
    };
    Data data{tokens(training), tokens(held_out)};
    if (data.held_out.size() < 2 || data.training.size() <= static_cast<std::size_t>(context))
        throw tenon::Error("expected a longer text, got " + std::to_string(data.training.size()) +
                           " tokens to train on and " + std::to_string(data.held_out.size()) + " held out");
    data.bytes_per_token = static_cast<double>(held_out.size()) / static_cast<double>(data.held_out.size());
    std::printf("text: %.2f MB, %zu tokens to train on, %zu held out; %d threads\n",
                static_cast<double>(training.size()) / 1e6, data.training.size(), data.held_out.size(),
                tenon::thread_count());
    return data;
}
