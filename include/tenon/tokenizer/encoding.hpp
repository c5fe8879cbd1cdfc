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
struct TruncationOptions {
    std::size_t max_length = 512;  ///< in tokens, the template's included
    TruncationStrategy strategy = TruncationStrategy::longest_first;
    Side direction = Side::right;
    std::size_t stride = 0;
};

/// The fields of `padding` in tokenizer.json.
struct PaddingOptions {
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

/// Appends the tokens of another encoding.
inline void append(Encoding& encoding, const Encoding& next) {
    const auto join = [](auto& member, const auto& more) {
        member.insert(member.end(), more.begin(), more.end());
    };
    join(encoding.ids, next.ids);
    join(encoding.offsets, next.offsets);
    join(encoding.type_ids, next.type_ids);
    join(encoding.special_mask, next.special_mask);
    join(encoding.attention_mask, next.attention_mask);
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

/// Truncates one text, or two, to `max_length` tokens in all. Throws Error if the strategy cannot.
inline void truncate(Encoding& first, Encoding* second, const TruncationOptions& truncation,
                     std::size_t max_length) {
    const std::size_t sizes[] = {first.ids.size(), second ? second->ids.size() : 0};
    const std::size_t total = sizes[0] + sizes[1];
    if (total <= max_length) return;
    const Side side = truncation.direction;
    if (truncation.strategy == TruncationStrategy::longest_first || max_length == 0) {
        if (!second) return truncate(first, max_length, side);
        // The longer one loses tokens first; where both must, the one that was longer has the odd one.
        const bool is_swapped = sizes[0] > sizes[1];
        std::size_t shorter = std::min(sizes[0], sizes[1]);
        std::size_t longer = shorter > max_length ? shorter : std::max(shorter, max_length - shorter);
        if (shorter + longer > max_length) {
            shorter = max_length / 2;
            longer = shorter + max_length % 2;
        }
        truncate(first, is_swapped ? longer : shorter, side);
        truncate(*second, is_swapped ? shorter : longer, side);
        return;
    }
    const bool is_second = truncation.strategy == TruncationStrategy::only_second;
    if (is_second && !second) throw Error("expected two texts, as only the second may be truncated, got one");
    const std::size_t excess = total - max_length, size = sizes[is_second];
    if (size <= excess) {
        throw Error("expected a " + std::string(is_second ? "second" : "first") +
                    " text that is truncated to have more than " + std::to_string(excess) + " tokens, got " +
                    std::to_string(size));
    }
    truncate(is_second ? *second : first, size - excess, side);
}

/// Lengthens an encoding.
inline void pad(Encoding& encoding, std::size_t size, const PaddingOptions& padding) {
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
inline void pad(std::span<Encoding> encodings, const PaddingOptions& padding) {
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
