#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace tenon {

namespace detail {

/// A hash table from nonzero keys to values that begin as zero: open addressing, linear probing.
template <typename Value>
class CountTable {
public:
    struct Slot {
        std::uint64_t key = 0;
        Value value{};
    };

    std::size_t size() const { return size_; }
    const std::vector<Slot>& slots() const { return slots_; }

    const Value* find(std::uint64_t key) const {
        const Slot& slot = slots_[position(key)];
        return slot.key == key ? &slot.value : nullptr;
    }

    Value& operator[](std::uint64_t key) {
        std::size_t at = position(key);
        if (slots_[at].key == 0) {
            if (2 * (size_ + 1) > slots_.size()) {
                grow();
                at = position(key);
            }
            slots_[at].key = key;
            ++size_;
        }
        return slots_[at].value;
    }

private:
    /// Where the key is, or would be.
    std::size_t position(std::uint64_t key) const {
        std::size_t mask = slots_.size() - 1;
        std::size_t at = (key * 0x9E3779B97F4A7C15u >> 32) & mask;  // Fibonacci hashing: Knuth, TAOCP 3, 6.4
        while (slots_[at].key != 0 && slots_[at].key != key) at = (at + 1) & mask;
        return at;
    }

    void grow() {
        std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(2 * slots_.size()));
        for (const Slot& slot : old) {
            if (slot.key != 0) slots_[position(slot.key)] = slot;
        }
    }

    std::vector<Slot> slots_ = std::vector<Slot>(1024);
    std::size_t size_ = 0;
};

}  // namespace detail

/// The baseline for a byte's cost: an n-gram model over bytes whose contexts are the 0 to 3 bytes before,
/// with Witten-Bell smoothing (Witten and Bell 1991) in its interpolated form (Chen and Goodman 1998,
/// equation 16):
///
///     p(b | context) = (count(context b) + distinct(context) p(b | shorter context)) / (count(context) +
///     distinct(context))
///
/// down to the uniform distribution, where distinct(context) is the number of different bytes that followed
/// it. It gives every byte a probability, and the 256 of a context sum to 1.
class ByteNgram {
public:
    /// The bytes of the longest context.
    static constexpr std::size_t longest_context = 3;

    /// Counts a text, in place of what was counted before. Memory grows with the number of different n-grams,
    /// not with the text; past 2^24 different 4-grams the longest context counts no new ones.
    void fit(std::string_view text) {
        *this = ByteNgram();
        std::uint32_t history = 0;
        for (std::size_t i = 0; i < text.size(); ++i) {
            history = history << 8 | static_cast<unsigned char>(text[i]);
            std::uint64_t key = key_of(history, longest_context + 1);
            auto& four_grams = grams_[longest_context];
            // Shorter n-grams are sums over the 4-grams, save those that no 4-gram ends with.
            bool counted = i >= longest_context && (four_grams.size() < maximum_size || four_grams.find(key));
            if (counted) {
                ++four_grams[key];
            } else {
                count(history, std::min(i, longest_context - 1), 1);
            }
        }
        for (const auto& slot : grams_[longest_context].slots()) {
            if (slot.key == 0) continue;
            auto gram = static_cast<std::uint32_t>(slot.key);
            add_to_context(gram, longest_context, slot.value, true);
            count(gram, longest_context - 1, slot.value);
        }
    }

    /// The probability of a byte after a text, of which the last three bytes matter.
    double probability(std::string_view before, unsigned char byte) const {
        std::uint32_t history = 0;
        std::size_t length = std::min(before.size(), longest_context);
        for (char earlier : before.substr(before.size() - length)) {
            history = history << 8 | static_cast<unsigned char>(earlier);
        }
        return probability(history << 8 | byte, length);
    }

    /// The mean of -log2 of the probability of each byte, given those before it; 0 for an empty text.
    double bits_per_byte(std::string_view held_out) const {
        double bits = 0;
        std::uint32_t history = 0;
        for (std::size_t i = 0; i < held_out.size(); ++i) {
            history = history << 8 | static_cast<unsigned char>(held_out[i]);
            bits -= std::log2(probability(history, std::min(i, longest_context)));
        }
        return held_out.empty() ? 0 : bits / static_cast<double>(held_out.size());
    }

private:
    struct Context {
        std::uint64_t count = 0;
        std::uint64_t distinct = 0;
    };

    static constexpr std::size_t maximum_size = std::size_t{1} << 24;

    /// The last `length` bytes under a leading 1, which keeps keys of different lengths apart and nonzero.
    static std::uint64_t key_of(std::uint32_t history, std::size_t length) {
        std::uint64_t leading = std::uint64_t{1} << (8 * length);
        return leading | (history & (leading - 1));
    }

    void add_to_context(std::uint32_t gram, std::size_t context_length, std::uint64_t times, bool is_new) {
        Context& context = contexts_[context_length][key_of(gram >> 8, context_length)];
        context.count += times;
        context.distinct += is_new;
    }

    /// Counts the last byte of `gram` after each of its contexts up to `context_length`.
    void count(std::uint32_t gram, std::size_t context_length, std::uint64_t times) {
        for (std::size_t length = 0; length <= context_length; ++length) {
            std::uint64_t& counted = grams_[length][key_of(gram, length + 1)];
            add_to_context(gram, length, times, counted == 0);
            counted += times;
        }
    }

    double probability(std::uint32_t gram, std::size_t context_length) const {
        double result = 1.0 / 256;
        for (std::size_t length = 0; length <= context_length; ++length) {
            const Context* context = contexts_[length].find(key_of(gram >> 8, length));
            if (!context) break;  // no longer context was seen either
            const std::uint64_t* counted = grams_[length].find(key_of(gram, length + 1));
            auto count = static_cast<double>(counted ? *counted : 0);
            auto distinct = static_cast<double>(context->distinct);
            result = (count + distinct * result) / (static_cast<double>(context->count) + distinct);
        }
        return result;
    }

    detail::CountTable<std::uint64_t> grams_[longest_context + 1];  // by the context's length
    detail::CountTable<Context> contexts_[longest_context + 1];
};

}  // namespace tenon
