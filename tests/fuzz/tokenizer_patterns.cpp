// Any text, cut by one of the published patterns, which the first byte chooses: decoding gives back what was
// encoded, whole, with offsets and in parts alike.
#include <string>
#include <string_view>
#include <vector>

#include <tenon/tokenizer/base64.hpp>
#include <tenon/tokenizer/published_patterns.hpp>
#include <tenon/tokenizer/tiktoken_file.hpp>

#include "tokenizer.hpp"

namespace {

tenon::Tokenizer tokenizer_of(std::string_view pattern) {
    std::string ranks;
    int rank = 0;
    const auto add = [&](std::string_view token) {
        ranks += tenon::detail::write_base64(token) + " " + std::to_string(rank++) + "\n";
    };
    for (int byte = 0; byte < 256; ++byte) {
        const char character = static_cast<char>(byte);
        add({&character, 1});
    }
    for (const std::string_view token :
         {"th", " t", "he", " the", "aa", "aaaa", "  ", "    ", "\r\n", "'s", "12", "\u00E9"})
        add(token);
    return tenon::Tokenizer(
        tenon::parse_tiktoken(ranks, "ranks", {std::string(pattern), {{"<|end|>", 1000}}}));
}

}  // namespace

const fuzz::Target target("tokenizer_patterns", [](const std::uint8_t* data, std::size_t size) {
    namespace patterns = tenon::detail::patterns;
    static const std::vector<tenon::Tokenizer> tokenizers = [] {
        std::vector<tenon::Tokenizer> all;
        for (const std::string_view pattern : {patterns::gpt2, patterns::llama3, patterns::qwen2,
                                               patterns::gpt4o, patterns::tekken, patterns::deepseek3})
            all.push_back(tokenizer_of(pattern));
        return all;
    }();
    if (size == 0) return;
    const tenon::Tokenizer& tokenizer = tokenizers[data[0] % tokenizers.size()];
    const std::string_view text = fuzz::text_of(data + 1, size - 1);
    const auto ids = fuzz::checked_ids(tokenizer, text);
    fuzz::require(ids.has_value(), "every text has tokens");
    fuzz::require(tokenizer.decode_bytes(*ids) == text, "decoding gives back what was encoded");

    fuzz::require_streams(tokenizer, text, *ids);
});
