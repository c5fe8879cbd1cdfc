#pragma once

#include <cstdint>

#include <tenon/op/attention/shape.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

namespace mismatch {
/// A mask of attention does not fit the scores [batch, heads, T, S] (see `attention_mask_rule`).
template <class Mask, class Scores>
struct attention_mask_does_not_fit;
}  // namespace mismatch

/// A mask of attention: sequences of `lengths` [batch], the rest of their keys is padding.
template <class S, class D = Cpu>
struct Padding {
    Tensor<int, S, D> lengths;
};
template <class S, class D>
Padding(Tensor<int, S, D>) -> Padding<S, D>;

enum class AttentionMaskKind { allowed, document_start, lengths };

/// Whether a mask fits scores [batch, heads, T, S]. What each query may attend to: [T, S], [batch, T, S] or
/// [batch, heads, T, S], where batch and heads may be 1. Where documents start: [batch, S]. Lengths: [batch].
constexpr bool attention_mask_rule(AttentionMaskKind kind, const Extents& mask, const Extents& scores) {
    const auto differ = [&](int axis, int of_scores) {
        return extents_conflict(mask[axis], scores[of_scores]);
    };
    if (kind == AttentionMaskKind::lengths) return mask.rank == 1 && !differ(0, 0);
    if (kind == AttentionMaskKind::document_start) return mask.rank == 2 && !differ(0, 0) && !differ(1, 3);
    if (mask.rank < 2 || mask.rank > 4 || differ(mask.rank - 2, 2) || differ(mask.rank - 1, 3)) return false;
    const bool heads_fit = mask.rank < 4 || mask[1] == 1 || !differ(1, 1);
    return heads_fit && (mask.rank < 3 || mask[0] == 1 || !differ(0, 0));
}

namespace detail {

template <class Mask>
struct MaskTraits;
template <class S, class D, class L>
struct MaskTraits<Tensor<bool, S, D, Untracked, L>> {
    using shape_type = S;
    static constexpr AttentionMaskKind kind = AttentionMaskKind::allowed;
};
template <class S, class D>
struct MaskTraits<Tensor<int, S, D>> {
    using shape_type = S;
    static constexpr AttentionMaskKind kind = AttentionMaskKind::document_start;
};
template <class S, class D>
struct MaskTraits<Padding<S, D>> {
    using shape_type = S;
    static constexpr AttentionMaskKind kind = AttentionMaskKind::lengths;
};

template <class Scores, class Mask>
inline constexpr bool mask_fits = attention_mask_rule(MaskTraits<Mask>::kind,
                                                      MaskTraits<Mask>::shape_type::codes, Scores::codes);

/// The fault of the first mask that does not fit.
template <class Scores, class... Masks>
struct MaskFault {};
template <class Scores, class Mask, class... Rest>
struct MaskFault<Scores, Mask, Rest...> : MaskFault<Scores, Rest...> {};
template <class Scores, class Mask, class... Rest>
    requires(!mask_fits<Scores, Mask>)
struct MaskFault<Scores, Mask, Rest...> {
    using type = mismatch::attention_mask_does_not_fit<typename MaskTraits<Mask>::shape_type, Scores>;
};

}  // namespace detail

/// What attention takes for a mask: a `Tensor<bool, …>` that says which keys each query may attend to, a
/// `Tensor<int, …>` that says of each position where its document starts, or `Padding{lengths}`.
template <class Mask>
concept AttentionMask = requires {
    typename detail::MaskTraits<Mask>::shape_type;
};

namespace detail {

/// Masks as kernels take them, and what keeps their memory until the backward pass.
struct HeldMasks {
    kernel::AttentionMasks masks;
    Storage allowed, document_start, lengths;
};

template <class X>
X with_dense_last_axis(const X& x) {
    return copied_unless(x.extents()[x.rank - 1] == 1 || x.strides()[x.rank - 1] == 1, x);
}

template <class X>
void require_mask(AttentionMaskKind kind, const X& mask, const Extents& scores) {
    if (!attention_mask_rule(kind, mask.extents(), scores))
        throw_mismatch<mismatch::attention_mask_does_not_fit>(mask.extents(), scores);
    // A null pointer would stand for no mask.
    if (!mask.holds_elements() && mask.size() > 0)
        throw ShapeError("attention: expected a mask, got a tensor that holds nothing");
}

template <class S, class D, class L>
void hold(HeldMasks& held, const Tensor<bool, S, D, Untracked, L>& given, const Extents& scores) {
    require_mask(AttentionMaskKind::allowed, given, scores);
    const auto mask = with_dense_last_axis(given);
    const int rank = S::rank;
    const Strides strides = mask.strides();
    const auto stride = [&](int axis) {
        return axis < 0 || mask.extents()[axis] == 1 ? std::int64_t{0} : strides[axis];
    };
    held.allowed = mask.storage();
    held.masks.allowed = mask.data();
    held.masks.batch_stride = rank > 2 ? stride(0) : 0;
    held.masks.head_stride = rank > 3 ? stride(1) : 0;
    held.masks.query_stride = stride(rank - 2);
}

template <class S, class D>
void hold(HeldMasks& held, const Tensor<int, S, D>& document_start, const Extents& scores) {
    require_mask(AttentionMaskKind::document_start, document_start, scores);
    held.document_start = document_start.storage();
    held.masks.document_start = document_start.data();
}

template <class S, class D>
void hold(HeldMasks& held, const Padding<S, D>& padding, const Extents& scores) {
    require_mask(AttentionMaskKind::lengths, padding.lengths, scores);
    held.lengths = padding.lengths.storage();
    held.masks.key_length = padding.lengths.data();
}

template <AttentionMask... Masks>
HeldMasks hold_masks(const Extents& scores, const Masks&... masks) {
    constexpr auto at_most_one = []([[maybe_unused]] AttentionMaskKind kind) {
        return ((MaskTraits<Masks>::kind == kind ? 1 : 0) + ... + 0) <= 1;
    };
    static_assert(at_most_one(AttentionMaskKind::allowed) && at_most_one(AttentionMaskKind::document_start) &&
                      at_most_one(AttentionMaskKind::lengths),
                  "attention: two masks of one kind; combine them first");
    HeldMasks held;
    (hold(held, masks, scores), ...);
    return held;
}

}  // namespace detail
}  // namespace tenon
