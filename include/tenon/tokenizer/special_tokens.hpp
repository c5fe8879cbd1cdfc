#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon::detail {

/// Finds special tokens in text: the leftmost, and of those that begin at one place the longest.
class SpecialTokenFinder {
public:
    struct Match {
        std::size_t position;  // the text's size if there is none
        std::size_t size;
        std::size_t index;  // into the tokens given
    };

    SpecialTokenFinder() = default;

    /// Throws Error for a token that is empty or no UTF-8, and for one given twice.
    explicit SpecialTokenFinder(std::span<const std::string> tokens) {
        for (std::size_t index = 0; index < tokens.size(); ++index) {
            require_usable(tokens[index]);
            longest_ = std::max(longest_, tokens[index].size());
            candidates_.push_back({tokens[index], index});
        }
        // Tokens with the same first byte lie together, the longer before the shorter.
        std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
            const unsigned char first_of_a = static_cast<unsigned char>(a.token[0]);
            const unsigned char first_of_b = static_cast<unsigned char>(b.token[0]);
            if (first_of_a != first_of_b) return first_of_a < first_of_b;
            if (a.token.size() != b.token.size()) return a.token.size() > b.token.size();
            return a.token < b.token;
        });
        for (std::size_t i = 0; i < candidates_.size(); ++i) {
            const std::string& token = candidates_[i].token;
            if (i > 0 && candidates_[i - 1].token == token) {
                throw Error("expected each special token once, got \"" + token + "\" twice");
            }
            Range& range = of_first_byte_[static_cast<unsigned char>(token[0])];
            if (range.count++ == 0) {
                range.begin = i;
                ++first_bytes_;
            }
        }
    }

    /// The size in bytes of the longest token, 0 without any.
    std::size_t longest() const { return longest_; }

    /// The first match at or after `begin`.
    Match find(std::string_view text, std::size_t begin) const {
        const Match none{text.size(), 0, 0};
        if (candidates_.empty()) return none;
        for (std::size_t at = begin; at < text.size(); ++at) {
            if (first_bytes_ == 1) {
                const void* found = std::memchr(text.data() + at, candidates_[0].token[0], text.size() - at);
                if (!found) return none;
                at = static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
            }
            const Range range = of_first_byte_[static_cast<unsigned char>(text[at])];
            for (std::size_t i = range.begin; i < range.begin + range.count; ++i) {
                const std::string& token = candidates_[i].token;
                if (text.compare(at, token.size(), token) == 0)
                    return {at, token.size(), candidates_[i].index};
            }
        }
        return none;
    }

private:
    struct Candidate {
        std::string token;
        std::size_t index;
    };

    struct Range {
        std::size_t begin = 0;
        std::size_t count = 0;
    };

    static void require_usable(std::string_view token) {
        if (token.empty()) throw Error("expected special tokens with at least one byte, got an empty one");
        if (!is_valid_utf8(token)) {
            throw Error("expected special tokens in UTF-8, got one with other bytes: " +
                        written_bytes(token));
        }
    }

    std::vector<Candidate> candidates_;
    std::array<Range, 256> of_first_byte_{};
    std::size_t first_bytes_ = 0;
    std::size_t longest_ = 0;
};

}  // namespace tenon::detail
