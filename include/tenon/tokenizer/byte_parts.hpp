#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/merge.hpp"

namespace tenon::detail {

/// Parts pieces of bytes where no merge joins what stands there: between two bytes that no token has next to
/// each other. What scripts have few tokens for falls into characters, most of which were seen lately.
class ByteParts {
public:
    /// Tells that a token has these bytes.
    void add(std::string_view token) {
        for (std::size_t at = 1; at < token.size(); ++at) {
            const std::size_t pair = index_of(token[at - 1], token[at]);
            joined_[pair / 64] |= std::uint64_t{1} << pair % 64;
        }
    }

    /// The size of the part that the piece begins with.
    std::size_t first_size(std::string_view piece) const {
        std::size_t size = 1;
        while (size < piece.size() && are_joined(piece[size - 1], piece[size])) ++size;
        return size;
    }

private:
    static std::size_t index_of(char first, char second) {
        return std::size_t{static_cast<unsigned char>(first)} * 256 + static_cast<unsigned char>(second);
    }

    bool are_joined(char first, char second) const {
        const std::size_t pair = index_of(first, second);
        return joined_[pair / 64] >> pair % 64 & 1;
    }

    std::array<std::uint64_t, 1024> joined_{};  // a bit for each two bytes
};

/// Remembers the tokens of short parts seen lately.
class PartMemory {
public:
    static constexpr std::size_t maximum_size = 8;

    /// Appends the tokens of a part, which encode(part, tokens) puts into `tokens` unless they are
    /// remembered.
    template <class Encode>
    void append(std::string_view part, std::vector<TokenId>& tokens, std::vector<TokenId>& ids,
                Encode&& encode) {
        entries_.resize(count);
        std::uint64_t bytes = 0;
        std::memcpy(&bytes, part.data(), part.size());
        Entry& entry = entries_[mix(bytes, part.size()) >> 40 & (count - 1)];
        if (entry.bytes != bytes || entry.size != part.size()) {
            encode(part, tokens);
            entry.bytes = bytes;
            entry.size = static_cast<std::uint16_t>(part.size());
            entry.count = static_cast<std::uint16_t>(tokens.size());
            std::copy(tokens.begin(), tokens.end(), entry.tokens);
        }
        ids.insert(ids.end(), entry.tokens, entry.tokens + entry.count);
    }

private:
    struct Entry {
        std::uint64_t bytes = 0;
        std::uint16_t size = 0, count = 0;
        TokenId tokens[maximum_size] = {};
    };

    static constexpr std::size_t count = 4096;

    std::vector<Entry> entries_;
};

}  // namespace tenon::detail
