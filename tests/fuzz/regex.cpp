// A pattern and a text with a NUL between them: matches lie in the text, and follow each other.
#include <algorithm>
#include <string_view>

#include <tenon/tokenizer/regex.hpp>

#include "target.hpp"

const fuzz::Target target("regex", [](const std::uint8_t* data, std::size_t size) {
    const std::string_view input = fuzz::text_of(data, size);
    const std::size_t cut = std::min(input.find('\0'), size);
    const std::string_view text = input.substr(std::min(cut + 1, size));
    fuzz::expect_value_or_error([&] {
        const tenon::Regex regex(input.substr(0, cut));
        for (std::size_t from = 0; from <= text.size();) {
            const auto match = regex.find(text, from);
            if (!match) break;
            fuzz::require(from <= match->begin && match->begin <= match->end && match->end <= text.size(),
                          "a match lies in what is searched");
            from = match->end + (match->begin == match->end);
        }
    });
});
