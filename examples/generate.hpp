#pragma once

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <tenon/inference/sampling.hpp>
#include <tenon/io/read_configuration.hpp>
#include <tenon/model/architectures.hpp>
#include <tenon/tokenizer/stream.hpp>
#include <tenon/tokenizer/tokenizer.hpp>
#include <tenon/tokenizer/vocabulary_files.hpp>

#include "arguments.hpp"
#include "speaker.hpp"

/// The program: writes on after a prompt, with the tokenizer and model of a folder. All shapes are read from
/// it.
template <class Device, tenon::Precision P>
int generate(int count, char** values) {
    using namespace tenon;
    return run_program([&] {
        const Arguments arguments(
            count, values, "generate [PROMPT] [--model FOLDER] [--tokens NUMBER] [--temperature NUMBER]",
            {{"--model", "FOLDER", "of tokenizer and model (tenon_model)"},
             {"--tokens", "NUMBER", "how many to write (200)"},
             {"--temperature", "NUMBER", "0 takes the likeliest token (0.8)"},
             {"--top-k", "NUMBER", "draw from the k likeliest only; 0: from all (0)"},
             {"--top-p", "NUMBER", "draw from the likeliest that reach p only (0.95)"},
             {"--seed", "NUMBER", "of the drawing (1)"}});
        const std::string folder = arguments.text("--model", "tenon_model");
        const std::vector<std::string>& words = arguments.positional(0, 1);
        const std::string prompt = words.empty() ? "/// The sum of" : words[0];
        const auto tokens = static_cast<int>(arguments.integer("--tokens", 200));
        const Seed drawing = seed(static_cast<std::uint64_t>(arguments.integer("--seed", 1)));
        const SamplingOptions sampling{.temperature = arguments.number("--temperature", 0.8),
                                       .top_k = static_cast<int>(arguments.integer("--top-k", 0)),
                                       .top_p = arguments.number("--top-p", 0.95)};
        require_valid(sampling);

        const OwnedConfiguration configuration = read_configuration(folder + "/config.json");
        const Architecture architecture = require_architecture(configuration.table());
        require_decoder(architecture);
        const Tokenizer tokenizer(read_gpt2_files(folder));
        std::vector<std::int32_t> ids;
        for (TokenId id : tokenizer.encode_ids(prompt)) ids.push_back(static_cast<std::int32_t>(id));
        if (ids.empty()) arguments.fail("expected a prompt that is not empty");

        // No more of the context is made room for than will be used.
        const auto room = std::min<std::int64_t>(static_cast<std::int64_t>(ids.size()) + tokens, INT32_MAX);
        const auto speaker =
            load_speaker<Device, P>(folder, architecture, static_cast<int>(room), sampling, drawing);
        speaker->follow(ids);

        StreamDecoder decoder(tokenizer);
        const auto write = [](const std::string& text) {
            std::fwrite(text.data(), 1, text.size(), stdout);
            std::fflush(stdout);
        };
        write(prompt);
        const std::optional<std::int64_t> end = configuration.table().integer("eos_token_id");
        for (int i = 0; i < tokens; ++i) {
            const std::int32_t token = speaker->next();
            if (end && token == *end) break;
            // A model's vocabulary may be larger than its tokenizer's.
            if (static_cast<std::size_t>(token) < tokenizer.vocabulary_size())
                write(decoder.push(static_cast<TokenId>(token)));
        }
        write(decoder.flush() + "\n");
    });
}
