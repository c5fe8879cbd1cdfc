#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/byte_trie.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
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
        std::vector<std::pair<std::string_view, std::uint32_t>> strings;
        StringTable distinct;
        for (const std::string& token : tokens) {
            require_usable(token);
            if (distinct.add(token) != strings.size())
                throw Error("expected each special token once, got \"" + token + "\" twice");
            longest_ = std::max(longest_, token.size());
            strings.emplace_back(token, static_cast<std::uint32_t>(strings.size()));
            bool& begins = begins_token_[static_cast<unsigned char>(token[0])];
            if (!begins) ++first_bytes_;
            begins = true;
            first_byte_ = token[0];
        }
        trie_ = ByteTrie(std::move(strings));
    }

    /// The size in bytes of the longest token, 0 without any.
    std::size_t longest() const { return longest_; }

    /// The first match at or after `begin`.
    Match find(std::string_view text, std::size_t begin) const {
        Match match{text.size(), 0, 0};
        if (longest_ == 0) return match;
        for (std::size_t at = begin; at < text.size(); ++at) {
            if (first_bytes_ == 1) {
                const void* found = std::memchr(text.data() + at, first_byte_, text.size() - at);
                if (!found) break;
                at = static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
            } else if (!begins_token_[static_cast<unsigned char>(text[at])]) {
                continue;
            }
            trie_.for_each_prefix(text.substr(at), [&](std::size_t size, std::uint32_t index) {
                match = {at, size, index};
            });
            if (match.size > 0) break;
        }
        return match;
    }

private:
    static void require_usable(std::string_view token) {
        if (token.empty()) throw Error("expected special tokens with at least one byte, got an empty one");
        if (!is_valid_utf8(token)) {
            throw Error("expected special tokens in UTF-8, got one with other bytes: " +
                        written_bytes(token));
        }
    }

    ByteTrie trie_;
    std::array<bool, 256> begins_token_{};
    std::size_t first_bytes_ = 0;
    char first_byte_ = 0;  // if there is but one
    std::size_t longest_ = 0;
};

}  // namespace tenon::detail
