#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/merge.hpp"

namespace tenon {

/// A text as a model takes it: for each token,
struct Encoding {
    std::vector<TokenId> ids;
    std::vector<Span> offsets;                 ///< the bytes of the text that it stands for, whole characters
    std::vector<std::uint32_t> type_ids;       ///< the text that it belongs to, as the template numbers them
    std::vector<std::uint8_t> special_mask;    ///< whether the template or padding put it there
    std::vector<std::uint8_t> attention_mask;  ///< whether it is no padding
};

/// From which end text that is too long loses tokens, or text that is too short gets them.
enum class Side : std::uint8_t { left, right };

/// Which of two texts loses tokens where both are too long together.
enum class TruncationStrategy : std::uint8_t { longest_first, only_first, only_second };

/// The fields of `truncation` in tokenizer.json. What is cut off is lost, so that the stride decides nothing.
struct Truncation {
    std::size_t max_length = 512;  ///< in tokens, the template's included
    TruncationStrategy strategy = TruncationStrategy::longest_first;
    Side direction = Side::right;
    std::size_t stride = 0;
};

/// The fields of `padding` in tokenizer.json.
struct Padding {
    std::optional<std::size_t> fixed_length = {};  ///< else that of the longest of a batch
    Side direction = Side::right;
    std::optional<std::size_t> pad_to_multiple_of = {};
    TokenId pad_id = 0;
    std::uint32_t pad_type_id = 0;
    std::string pad_token = "[PAD]";
};

namespace detail {

/// Calls visit(member) for each vector of an encoding.
template <class AnyEncoding, class Visit>
void for_each_member(AnyEncoding& encoding, Visit&& visit) {
    visit(encoding.ids);
    visit(encoding.offsets);
    visit(encoding.type_ids);
    visit(encoding.special_mask);
    visit(encoding.attention_mask);
}

/// Keeps so many tokens; `side` is where the others are.
inline void truncate(Encoding& encoding, std::size_t size, Side side) {
    if (encoding.ids.size() <= size) return;
    for_each_member(encoding, [&](auto& member) {
        if (member.size() <= size) return;
        const auto excess = static_cast<std::ptrdiff_t>(member.size() - size);
        if (side == Side::right) {
            member.erase(member.end() - excess, member.end());
        } else {
            member.erase(member.begin(), member.begin() + excess);
        }
    });
}

/// Truncates one or two texts to `max_length` tokens in all. Throws Error if the strategy cannot.
inline void truncate(std::span<Encoding> encodings, const Truncation& truncation, std::size_t max_length) {
    const auto size_of = [&](std::size_t i) { return i < encodings.size() ? encodings[i].ids.size() : 0; };
    const std::size_t total = size_of(0) + size_of(1);
    if (total <= max_length) return;
    const Side side = truncation.direction;
    if (truncation.strategy == TruncationStrategy::longest_first || max_length == 0) {
        if (encodings.size() == 1 || max_length == 0) {
            for (Encoding& encoding : encodings) truncate(encoding, max_length, side);
            return;
        }
        // The longer one loses tokens first; where both must, the one that was longer has the odd one.
        const bool is_swapped = size_of(0) > size_of(1);
        std::size_t shorter = std::min(size_of(0), size_of(1));
        std::size_t longer = shorter > max_length ? shorter : std::max(shorter, max_length - shorter);
        if (shorter + longer > max_length) {
            shorter = max_length / 2;
            longer = shorter + max_length % 2;
        }
        truncate(encodings[0], is_swapped ? longer : shorter, side);
        truncate(encodings[1], is_swapped ? shorter : longer, side);
        return;
    }
    const std::size_t index = truncation.strategy == TruncationStrategy::only_second;
    if (index >= encodings.size()) throw Error("expected two texts, as only the second may be truncated, got one");
    const std::size_t excess = total - max_length;
    if (size_of(index) <= excess) {
        throw Error("expected a " + std::string(index == 0 ? "first" : "second") +
                    " text that is truncated to have more than " + std::to_string(excess) + " tokens, got " +
                    std::to_string(size_of(index)));
    }
    truncate(encodings[index], size_of(index) - excess, side);
}

/// Lengthens an encoding.
inline void pad(Encoding& encoding, std::size_t size, const Padding& padding) {
    if (encoding.ids.size() >= size) return;
    const std::size_t count = size - encoding.ids.size();
    const auto fill = [&](auto& member, auto value) {
        member.insert(padding.direction == Side::left ? member.begin() : member.end(), count, value);
    };
    const bool is_whole = !encoding.attention_mask.empty() || encoding.ids.empty();
    fill(encoding.ids, padding.pad_id);
    if (!is_whole) return;
    fill(encoding.offsets, Span{});
    fill(encoding.type_ids, padding.pad_type_id);
    fill(encoding.special_mask, std::uint8_t{1});
    fill(encoding.attention_mask, std::uint8_t{0});
}

/// Pads encodings to one length.
inline void pad(std::span<Encoding> encodings, const Padding& padding) {
    std::size_t size = padding.fixed_length.value_or(0);
    for (const Encoding& encoding : encodings) {
        if (!padding.fixed_length) size = std::max(size, encoding.ids.size());
    }
    if (const std::size_t multiple = padding.pad_to_multiple_of.value_or(0); multiple > 0)
        size += (multiple - size % multiple) % multiple;
    for (Encoding& encoding : encodings) pad(encoding, size, padding);
}

}  // namespace detail

}  // namespace tenon
