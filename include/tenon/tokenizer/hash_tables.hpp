#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/core/error.hpp"

namespace tenon::detail {

/// Mixes both words into the high bits: multiplication by odd constants (from the golden ratio and the root
/// of 3).
constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    const std::uint64_t sum = (a ^ std::rotl(b, 29)) * 0x9E3779B97F4A7C15u;
    return (sum ^ sum >> 32) * 0xBB67AE8584CAA73Bu;
}

/// Mixes a word into the 32 low bits of the result.
constexpr std::uint64_t mix(std::uint64_t word) { return (word * 0x9E3779B97F4A7C15u) >> 32; }

inline std::uint64_t hash_bytes(std::string_view bytes) {
    std::uint64_t hash = bytes.size();
    while (bytes.size() >= 8) {
        std::uint64_t word;
        std::memcpy(&word, bytes.data(), 8);
        hash = mix(word, hash);
        bytes.remove_prefix(8);
    }
    // What is left of eight bytes, without a loop: overlapping parts, which tell the bytes apart.
    const auto part = [&](std::size_t at, std::size_t size) {
        std::uint64_t word = 0;
        size == 4 ? std::memcpy(&word, bytes.data() + at, 4) : std::memcpy(&word, bytes.data() + at, 1);
        return word;
    };
    std::uint64_t word = 0;
    if (bytes.size() >= 4) {
        word = part(0, 4) | part(bytes.size() - 4, 4) << 32;
    } else if (!bytes.empty()) {
        word = part(0, 1) | part(bytes.size() / 2, 1) << 8 | part(bytes.size() - 1, 1) << 16;
    }
    return mix(word, hash);
}

/// What the tables return for a key that they lack.
inline constexpr std::uint32_t absent = std::numeric_limits<std::uint32_t>::max();

/// Byte strings, numbered in the order in which they came. All bytes lie in one buffer.
class StringTable {
public:
    std::uint32_t size() const { return static_cast<std::uint32_t>(ends_.size()); }

    /// Makes room for so many strings, of so many bytes in all.
    void reserve(std::size_t strings, std::size_t bytes) {
        bytes_.reserve(bytes);
        ends_.reserve(strings);
        if (slots_.size() < 2 * strings + 1) grow(std::bit_ceil(2 * strings + 1));
    }

    /// Holds until the next string is added.
    std::string_view operator[](std::uint32_t index) const {
        const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
        return std::string_view(bytes_).substr(begin, ends_[index] - begin);
    }

    /// All of them, in order.
    std::vector<std::string> strings() const {
        std::vector<std::string> strings;
        for (std::uint32_t index = 0; index < size(); ++index) strings.emplace_back((*this)[index]);
        return strings;
    }

    /// The string's number, or `absent`.
    std::uint32_t find(std::string_view key) const {
        return slots_.empty() ? absent : slots_[slot_of(key, hash_bytes(key))].index;
    }

    /// The string's number; one that is new is added. Throws Error beyond 2^32 - 2 strings.
    std::uint32_t add(std::string_view key) {
        if (slots_.size() <= 2 * ends_.size()) grow(std::max<std::size_t>(64, 2 * slots_.size()));
        const std::uint64_t hash = hash_bytes(key);
        Slot& slot = slots_[slot_of(key, hash)];
        if (slot.index != absent) return slot.index;
        if (size() == absent - 1) throw Error("expected at most 4294967294 distinct strings, got more");
        slot = {static_cast<std::uint32_t>(hash), size()};
        bytes_ += key;
        ends_.push_back(bytes_.size());
        return slot.index;
    }

private:
    struct Slot {
        std::uint32_t hash = 0;
        std::uint32_t index = absent;
    };

    std::size_t slot_of(std::string_view key, std::uint64_t hash) const {
        const std::size_t mask = slots_.size() - 1;
        std::size_t at = (hash >> 32) & mask;
        while (slots_[at].index != absent) {
            if (slots_[at].hash == static_cast<std::uint32_t>(hash) && (*this)[slots_[at].index] == key)
                break;
            at = (at + 1) & mask;
        }
        return at;
    }

    void grow(std::size_t slots) {
        slots_.assign(slots, Slot{});
        for (std::uint32_t index = 0; index < size(); ++index) {
            const std::uint64_t hash = hash_bytes((*this)[index]);
            // Strings are distinct, so the first free slot is right.
            std::size_t at = (hash >> 32) & (slots_.size() - 1);
            while (slots_[at].index != absent) at = (at + 1) & (slots_.size() - 1);
            slots_[at] = {static_cast<std::uint32_t>(hash), index};
        }
    }

    std::string bytes_;
    std::vector<std::size_t> ends_;
    std::vector<Slot> slots_;
};

/// Tells of most hashes that were not added that they were not: a bit for each hash's 32 low bits, in little
/// memory, which is read faster than the table that it stands before.
class HashFilter {
public:
    /// Empties the filter and makes room for a table of so many slots, a power of 2.
    void reset(std::size_t slots) { words_.assign(std::max<std::size_t>(slots * bits_per_slot / 64, 1), 0); }

    void add(std::uint64_t hash) { words_[index_of(hash)] |= std::uint64_t{1} << hash % 64; }

    bool may_have(std::uint64_t hash) const { return words_[index_of(hash)] >> hash % 64 & 1; }

    /// Begins to read from memory what `may_have` reads.
    void prefetch(std::uint64_t hash) const { __builtin_prefetch(&words_[index_of(hash)]); }

private:
    static constexpr std::size_t bits_per_slot = 4;

    std::size_t index_of(std::uint64_t hash) const { return hash / 64 & (words_.size() - 1); }

    std::vector<std::uint64_t> words_ = {0};
};

/// Maps pairs of numbers to a number, none of them `absent`.
class PairMap {
public:
    std::uint32_t size() const { return size_; }

    /// The pair's value, or `absent`.
    std::uint32_t find(std::uint32_t left, std::uint32_t right) const {
        return slots_.empty() ? absent : slots_[slot_of(key_of(left, right))].value;
    }

    /// The pair's value; a pair that is new gets `value`.
    std::uint32_t add(std::uint32_t left, std::uint32_t right, std::uint32_t value) {
        if (slots_.size() <= 2 * std::size_t{size_}) grow();
        const std::uint64_t key = key_of(left, right);
        Slot& slot = slots_[slot_of(key)];
        if (slot.value != absent) return slot.value;
        slot = {key, value};
        ++size_;
        return value;
    }

private:
    struct Slot {
        std::uint64_t key = 0;
        std::uint32_t value = absent;
    };

    static std::uint64_t key_of(std::uint32_t left, std::uint32_t right) {
        return std::uint64_t{left} << 32 | right;
    }

    std::size_t slot_of(std::uint64_t key) const {
        const std::size_t mask = slots_.size() - 1;
        std::size_t at = (mix(key, 0) >> 32) & mask;
        while (slots_[at].value != absent && slots_[at].key != key) at = (at + 1) & mask;
        return at;
    }

    void grow() {
        std::vector<Slot> old(std::max<std::size_t>(64, 2 * slots_.size()));
        old.swap(slots_);
        for (const Slot& slot : old) {
            if (slot.value != absent) slots_[slot_of(slot.key)] = slot;
        }
    }

    std::vector<Slot> slots_;
    std::uint32_t size_ = 0;
};

}  // namespace tenon::detail
