// Writes on after a prompt, with the tokenizer and model of a folder: `train_lm`'s, or any supported checkpoint's beside
// GPT-2's tokenizer files. All shapes are read from the folder.

#include <string>
#include <vector>

#include <tenon/files.hpp>
#include <tenon/tenon.hpp>
#include <tenon/tokenizer.hpp>

#include "arguments.hpp"

using namespace tenon;

int main(int count, char** values) {
    return run_program([&] {
        const Arguments arguments(count, values, "generate [PROMPT] [--model FOLDER] [--tokens NUMBER] [--temperature NUMBER]",
                                  {{"--model", "FOLDER", "of tokenizer and model (tenon_model)"},
                                   {"--tokens", "NUMBER", "how many to write (200)"},
                                   {"--temperature", "NUMBER", "0 takes the likeliest token (0.8)"},
                                   {"--top-k", "NUMBER", "draw from the k likeliest only; 0: from all (0)"},
                                   {"--top-p", "NUMBER", "draw from the likeliest that reach p only (0.95)"},
                                   {"--seed", "NUMBER", "of the drawing (1)"}});
        const std::string folder = arguments.text("--model", "tenon_model");
        const std::vector<std::string> words = arguments.positional(0, 1);
        const std::string prompt = words.empty() ? "/// The sum of" : words[0];
        const SamplingOptions sampling{.temperature = arguments.number("--temperature", 0.8),
                                       .top_k = static_cast<int>(arguments.integer("--top-k", 0)),
                                       .top_p = arguments.number("--top-p", 0.95)};

        const OwnedConfiguration configuration = read_configuration(folder + "/config.json");
        const Architecture architecture = find_architecture(configuration.table());
        if (!architecture) throw FileError(folder + "/config.json: an architecture that is not supported");
        using Model = Transformer<DynamicTransformer>;
        Model model(architecture.sizes);
        load_parameters(model, open_checkpoint(folder), architecture.names);
        const BytePairTokenizer tokenizer = BytePairTokenizer::load(folder);

        std::vector<std::int32_t> ids;
        for (TokenId id : tokenizer.encode(prompt)) ids.push_back(static_cast<std::int32_t>(id));
        if (ids.empty()) arguments.fail("expected a prompt that is not empty");
        Generator generator(model, sampling, seed(static_cast<std::uint64_t>(arguments.integer("--seed", 1))));
        generator.feed(ids);

        StreamDecoder decoder(tokenizer);
        const auto write = [](const std::string& text) {
            std::fwrite(text.data(), 1, text.size(), stdout);
            std::fflush(stdout);
        };
        write(prompt);
        const std::optional<TokenId> end = tokenizer.token_id("<|endoftext|>");
        for (std::int64_t i = arguments.integer("--tokens", 200); i > 0; --i) {
            const TokenId token = static_cast<TokenId>(generator.next());
            if (end && token == *end) break;
            // A model's vocabulary may be larger than its tokenizer's.
            if (token < tokenizer.vocabulary_size()) write(decoder.push(token));
        }
        write(decoder.flush() + "\n");
    });
}
