#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/merge.hpp"

namespace tenon::detail {

/// A piece of at most 15 bytes and its size, in two words: compared and hashed without loops.
struct PieceKey {
    static constexpr std::size_t maximum_size = 15;

    std::uint64_t low;
    std::uint64_t high;

    bool operator==(const PieceKey&) const = default;
    std::size_t hash() const { return static_cast<std::size_t>(mix(low, high) >> 24); }
};

/// The key of a piece; `rest` is what can be read from its first byte on.
inline PieceKey key_of_piece(std::string_view piece, std::string_view rest) {
    static_assert(std::endian::native == std::endian::little,
                  "expected the size in a byte beyond the piece's");
    const std::size_t size = piece.size();
    char bytes[16] = {};
    PieceKey key;
    if (rest.size() >= sizeof bytes) {
        std::memcpy(&key, rest.data(), sizeof bytes);
        key.low &= size >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * size) - 1;
        key.high &= size <= 8 ? 0 : (std::uint64_t{1} << 8 * (size - 8)) - 1;
    } else {
        std::memcpy(bytes, piece.data(), size);
        std::memcpy(&key, bytes, sizeof bytes);
    }
    key.high |= std::uint64_t{size} << 56;
    return key;
}

/// The short pieces that are one token, with that token.
class WholePieceTable {
public:
    /// Empties the table and makes room.
    void reserve(std::size_t count) { slots_.assign(std::bit_ceil(2 * count + 1), Slot{}); }

    /// Adds a piece that the table lacks, within the room made.
    void add(const PieceKey& key, TokenId token) { slots_[slot_of(key)] = {key, token}; }

    /// The piece's token, or `absent`.
    TokenId find(const PieceKey& key) const { return slots_[slot_of(key)].token; }

private:
    struct Slot {
        PieceKey key{0, 0};
        TokenId token = absent;
    };

    std::size_t slot_of(const PieceKey& key) const {
        std::size_t at = key.hash() & (slots_.size() - 1);
        while (slots_[at].token != absent && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
        return at;
    }

    std::vector<Slot> slots_ = std::vector<Slot>(1);
};

/// Remembers the tokens of pieces seen lately: of short ones that have few, found by their keys, and of
/// others that are not too long. Its memory is fixed: of two pieces that want the same place, the later one
/// has it.
class PieceCache {
public:
    /// The tokens of a short piece.
    struct Entry {
        static constexpr std::size_t maximum_tokens = 3;
        static constexpr std::uint32_t elsewhere =
            absent;  // the count of a piece that has more: see LongEntry

        PieceKey key{0, 0};  // no piece has this key
        std::uint32_t count = 0;
        TokenId tokens[maximum_tokens] = {};
    };

    /// The tokens of a longer piece, or of a short one that has many.
    struct LongEntry {
        static constexpr std::size_t maximum_size = 62, maximum_tokens = 16;

        std::uint8_t size = 0;  // no piece has this size
        std::uint8_t count = 0;
        char bytes[maximum_size] = {};
        TokenId tokens[maximum_tokens] = {};

        bool is_of(std::string_view piece) const {
            return size == piece.size() && std::memcmp(bytes, piece.data(), size) == 0;
        }
    };

    /// A cache worth its building for `bytes` bytes of text, 4 MiB at most.
    explicit PieceCache(std::size_t bytes)
        : entries_(std::bit_ceil(std::clamp<std::size_t>(bytes / 32, 1, std::size_t{1} << 16))),
          long_entries_(std::bit_ceil(std::clamp<std::size_t>(bytes / 256, 1, std::size_t{1} << 14))) {}

    Entry& entry(const PieceKey& key) { return entries_[key.hash() & (entries_.size() - 1)]; }

    LongEntry& long_entry(std::string_view piece) {
        return long_entries_[(hash_bytes(piece) >> 32) & (long_entries_.size() - 1)];
    }

private:
    std::vector<Entry> entries_;
    std::vector<LongEntry> long_entries_;
};

}  // namespace tenon::detail
