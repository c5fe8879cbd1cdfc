#pragma once

#include <tenon/op/embedding/embedding.hpp>
#include <tenon/op/matmul/matmul.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// What a language model returns: the last hidden states [..., width] and the head [vocabulary, width] whose
/// product the logits are. Losses and sampling compute them in chunks; `tensor()` computes them all.
template <TensorLike H, TensorLike W>
class Logits {
public:
    using shape_type = ShapeOf<
        MatmulRule<typename H::shape_type, typename W::shape_type, MatmulOptions{.transpose_right = true}>>;
    using value_type = typename H::value_type;
    static constexpr bool is_tracked = any_tracked<H, W>;

    static constexpr bool fits =
        matmul_rule(H::shape_type::codes, W::shape_type::codes, {.transpose_right = true}).ok();

    /// Both are packed. Throws ShapeError where their widths differ.
    Logits(const H& states, const W& weight) requires(fits) : hidden(states), head(weight) {
        static_assert(H::is_packed && W::is_packed, "logits take packed tensors");
        const Deduction deduction = matmul_rule(hidden.extents(), head.extents(), {.transpose_right = true});
        if (!deduction.ok())
            throw_mismatch<mismatch::matmul_inner_extents_differ>(hidden.extents(), head.extents());
        extents_ = detail::ExtentsOf<shape_type>(deduction.extents);
    }

    Logits(const H&, const W&,
           mismatch::matmul_inner_extents_differ<typename H::shape_type, typename W::shape_type> =
               {}) requires(!fits);

    /// [..., vocabulary].
    const Extents& extents() const { return extents_.get(); }

    /// The logits of the last position alone, lazy: [batch, time, vocabulary] -> [batch, 1, vocabulary].
    auto last() const {
        const int time = hidden.extents()[H::rank - 2];
        if (time == 0) throw ShapeError("logits: expected at least one position, got none");
        auto state = contiguous(slice<H::rank - 2>(hidden, time - 1, time));
        return Logits<decltype(state), W>(state, head);
    }

    /// All logits, as a tensor [..., vocabulary].
    auto tensor() const { return matmul<MatmulOptions{.transpose_right = true}>(hidden, head); }

    H hidden;
    W head;

private:
    detail::ExtentsOf<shape_type> extents_;
};

template <TensorLike H, TensorLike W>
Logits(const H&, const W&) -> Logits<H, W>;

}  // namespace tenon
