#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "tenon/core/huge_pages.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/merge.hpp"

namespace tenon::detail {

/// A piece of at most 15 bytes and its size, in two words: compared and hashed without loops.
struct PieceKey {
    static constexpr std::size_t maximum_size = 15;

    std::uint64_t low;
    std::uint64_t high;

    bool operator==(const PieceKey& other) const { return ((low ^ other.low) | (high ^ other.high)) == 0; }
    std::size_t hash() const { return static_cast<std::size_t>(mix(low, high) >> 24); }
};

/// The bits of a key that are a piece's bytes, by the piece's size.
inline constexpr auto piece_bits = [] {
    std::array<PieceKey, PieceKey::maximum_size + 1> bits{};
    for (std::size_t size = 1; size < bits.size(); ++size) {
        bits[size] = bits[size - 1];
        (size <= 8 ? bits[size].low : bits[size].high) |= std::uint64_t{0xFF} << 8 * ((size - 1) % 8);
    }
    return bits;
}();

/// The key of a piece, of which so many bytes and what follows them can be read.
inline PieceKey key_of_piece(std::string_view piece, std::size_t readable) {
    static_assert(std::endian::native == std::endian::little,
                  "expected the size in a byte beyond the piece's");
    PieceKey key{0, 0};
    if (readable >= sizeof key) {
        std::memcpy(&key, piece.data(), sizeof key);
        key.low &= piece_bits[piece.size()].low;
        key.high &= piece_bits[piece.size()].high;
    } else {
        std::memcpy(&key, piece.data(), piece.size());
    }
    key.high |= std::uint64_t{piece.size()} << 56;
    return key;
}

/// The short pieces that are one token, with that token.
class WholePieceTable {
public:
    /// Empties the table and makes room.
    void reserve(std::size_t count) {
        slots_ = make_in_huge_pages<Slot>(std::bit_ceil(2 * count + 1));
        filter_.reset(slots_.size());
    }

    /// Adds a piece that the table lacks, within the room made.
    void add(const PieceKey& key, TokenId token) {
        slots_[slot_of(key)] = {key, token};
        filter_.add(key.hash());
    }

    /// The piece's token, or `absent`.
    TokenId find(const PieceKey& key) const {
        return filter_.may_have(key.hash()) ? slots_[slot_of(key)].token : absent;
    }

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
    HashFilter filter_;  // most pieces that are asked for are not one token
};

/// Entries found by hashes, which forget: of two that want the same place, the later one has it. The table
/// grows as it is filled.
template <class Entry>
class ForgetfulTable {
public:
    explicit ForgetfulTable(std::size_t maximum_bytes)
        : entries_(first_size), maximum_size_(std::bit_floor(maximum_bytes / sizeof(Entry))) {}

    /// Where the entry of a hash is, if it is there.
    const Entry& operator[](std::uint64_t hash) const { return entries_[hash & mask_]; }

    /// Begins to read the place of a hash from memory.
    void prefetch(std::uint64_t hash) const {
        const char* const place = reinterpret_cast<const char*>(&(*this)[hash]);
        for (std::size_t line = 0; line < sizeof(Entry); line += 64) __builtin_prefetch(place + line);
    }

    /// The place for a new entry of a hash.
    Entry& add(std::uint64_t hash) {
        if (++added_ > entries_.size() && entries_.size() < maximum_size_) grow();
        return entries_[hash & mask_];
    }

private:
    static constexpr std::size_t first_size = 64;

    void grow() {
        auto old = make_in_huge_pages<Entry>(std::min(4 * entries_.size(), maximum_size_));
        old.swap(entries_);
        mask_ = entries_.size() - 1;
        added_ = 0;
        for (const Entry& entry : old) {
            if (!entry.is_empty()) entries_[entry.hash() & mask_] = entry;
        }
    }

    std::vector<Entry> entries_;
    std::size_t mask_ = first_size - 1;
    std::size_t maximum_size_;
    std::size_t added_ = 0;  // since the table grew
};

/// The tokens of a short piece.
struct alignas(64) ShortPieceEntry {
    static constexpr std::size_t maximum_tokens = 11;

    PieceKey key{0, 0};  // no piece has this key
    std::uint32_t count = 0;
    TokenId tokens[maximum_tokens] = {};

    bool is_empty() const { return key == PieceKey{0, 0}; }
    std::uint64_t hash() const { return key.hash(); }
};

/// The tokens of a longer piece.
struct alignas(64) LongPieceEntry {
    static constexpr std::size_t maximum_size = 62, maximum_tokens = 16;

    std::uint8_t size = 0;  // no piece has this size
    std::uint8_t count = 0;
    char bytes[maximum_size] = {};
    TokenId tokens[maximum_tokens] = {};

    bool is_empty() const { return size == 0; }
    static std::uint64_t hash_of(std::string_view piece) { return hash_bytes(piece) >> 24; }
    std::uint64_t hash() const { return hash_of({bytes, size}); }
    bool is_of(std::string_view piece) const {
        return size == piece.size() && std::memcmp(bytes, piece.data(), size) == 0;
    }
};

/// Remembers the tokens of pieces seen lately.
struct PieceCache {
    explicit PieceCache(std::size_t maximum_bytes)
        : short_pieces(maximum_bytes / 3 * 2), long_pieces(maximum_bytes / 3) {}

    ForgetfulTable<ShortPieceEntry> short_pieces;
    ForgetfulTable<LongPieceEntry> long_pieces;
};

}  // namespace tenon::detail
