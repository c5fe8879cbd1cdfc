// Writes on after a prompt. Model and tokenizer are part of the program: it reads no file.

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>
#include <writer.hpp>  // of the checkpoint that CMakeLists.txt names

#include <tenon/inference/generator.hpp>
#include <tenon/tenon.hpp>
#include <tenon/tokenizer/read_tokenizer.hpp>
#include <tenon/tokenizer/stream.hpp>

#include "../arguments.hpp"

int main(int count, char** values) {
    using namespace tenon;
    return run_program([&] {
        const Arguments arguments(count, values,
                                  "embedded_app PROMPT [--tokens NUMBER] [--temperature NUMBER]",
                                  {{"--tokens", "NUMBER", "how many to write, at most (200)"},
                                   {"--temperature", "NUMBER", "0 takes the likeliest token (0.8)"},
                                   {"--seed", "NUMBER", "of the drawing (1)"}});
        const std::string prompt = arguments.positional(1, 1)[0];
        const auto tokens = static_cast<int>(arguments.integer("--tokens", 200));
        const SamplingOptions sampling{.temperature = arguments.number("--temperature", 0.8), .top_p = 0.95};

        const Tokenizer tokenizer = Tokenizer::load(writer::path());
        const writer::Model model = writer::load();  // its parameters stay where they lie in the program
        Generator generator(model, sampling,
                            seed(static_cast<std::uint64_t>(arguments.integer("--seed", 1))));
        const std::vector<TokenId> ids = tokenizer.encode_ids(prompt);
        generator.feed(std::vector<std::int32_t>(ids.begin(), ids.end()));

        StreamDecoder decoder(tokenizer);
        const auto write = [](const std::string& text) {
            std::fwrite(text.data(), 1, text.size(), stdout);
            std::fflush(stdout);
        };
        write(prompt);
        for (int i = 0; i < tokens; ++i) {
            const auto token = static_cast<TokenId>(generator.next());
            if (tokenizer.is_special(token)) break;
            if (tokenizer.has_token(token)) write(decoder.push(token));
        }
        write(decoder.flush() + "\n");
    });
}
