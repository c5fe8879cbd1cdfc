#pragma once

#include <cmath>
#include <concepts>
#include <optional>
#include <string>

#include <tenon/expression/functions.hpp>
#include <tenon/op/embedding/embedding.hpp>
#include <tenon/op/matmul/matmul_add.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// Says by its type that logits are the product of hidden states and head as it is.
struct PlainLogits {};

/// What else logits are: soft_cap(scale * product, soft_cap), each part where it is asked for.
struct LogitsOptions {
    double scale = 1;     ///< of the product: muP's output multiplier (Yang et al. 2022, "Tensor Programs V")
    double soft_cap = 0;  ///< logits stay within ± this (Gemma Team 2024, "Gemma 2"); 0: no cap
};

/// Says by its type that nothing is added to the product of hidden states and head.
struct NoAddend {};

/// A second product, of [..., rank] and [vocabulary, rank], that is added to that of hidden states and head:
/// of an adapter, which not every model has that may have one.
template <TensorLike H, TensorLike W>
struct LogitsAddend {
    H hidden;
    W head;
};

/// What a language model returns: the last hidden states [..., width] and the head [vocabulary, width] whose
/// product the logits are. Losses and sampling compute them in chunks; `tensor()` computes them all. Addend
/// is a std::optional<LogitsAddend<…>>, or none.
template <TensorLike H, TensorLike W, class Options = PlainLogits, class Addend = NoAddend>
class Logits {
    static constexpr MatmulOptions right{.transpose_right = true};

public:
    using shape_type = ShapeOf<MatmulRule<typename H::shape_type, typename W::shape_type, right>>;
    using value_type = typename H::value_type;
    static constexpr bool is_tracked = any_tracked<H, W>;
    static constexpr bool is_plain = std::same_as<Options, PlainLogits>,
                          may_have_addend = !std::same_as<Addend, NoAddend>;

    static constexpr bool fits = matmul_rule(H::shape_type::codes, W::shape_type::codes, right).ok();

    /// Both are packed. Throws ShapeError where their widths differ, Error where an option is not finite or
    /// the cap is negative.
    Logits(const H& states, const W& weight, const Options& options = {},
           const Addend& addend = {}) requires(fits)
        : hidden(states), head(weight), options(options), addend(addend) {
        static_assert(H::is_packed && W::is_packed, "logits take packed tensors");
        const Deduction deduction = matmul_rule(hidden.extents(), head.extents(), right);
        if (!deduction.ok())
            throw_mismatch<mismatch::matmul_inner_extents_differ>(hidden.extents(), head.extents());
        extents_ = detail::ExtentsOf<shape_type>(deduction.extents);
        if constexpr (!is_plain) {
            if (!std::isfinite(options.scale) || !std::isfinite(options.soft_cap) || options.soft_cap < 0)
                throw Error("logits: expected a finite scale and a finite cap of at least 0, got " +
                            std::to_string(options.scale) + " and " + std::to_string(options.soft_cap));
        }
    }

    Logits(const H&, const W&, const Options& = {},
           mismatch::matmul_inner_extents_differ<typename H::shape_type, typename W::shape_type> =
               {}) requires(!fits);

    /// [..., vocabulary].
    const Extents& extents() const { return extents_.get(); }

    /// The logits of the last position alone, lazy: [batch, time, vocabulary] -> [batch, 1, vocabulary].
    auto last() const {
        const int time = hidden.extents()[H::rank - 2];
        if (time == 0) throw ShapeError("logits: expected at least one position, got none");
        const auto last_of = [&](const auto& states) {
            return contiguous(slice<H::rank - 2>(states, time - 1, time));
        };
        using Last = decltype(last_of(hidden));
        if constexpr (may_have_addend) {
            using Part = LogitsAddend<decltype(last_of(addend->hidden)), decltype(addend->head)>;
            std::optional<Part> part;
            if (addend) part = Part{last_of(addend->hidden), addend->head};
            return Logits<Last, W, Options, std::optional<Part>>(last_of(hidden), head, options, part);
        } else {
            return Logits<Last, W, Options>(last_of(hidden), head, options);
        }
    }

    /// All logits, as a tensor [..., vocabulary].
    auto tensor() const {
        const auto product = whole_product();
        if constexpr (is_plain)
            return product;
        else if (options.soft_cap == 0)
            return evaluate(product * options.scale);
        else
            return evaluate(soft_cap(product * options.scale, options.soft_cap));
    }

    H hidden;
    W head;
    [[no_unique_address]] Options options;
    [[no_unique_address]] Addend addend;

private:
    auto whole_product() const {
        auto product = matmul<right>(hidden, head);
        if constexpr (may_have_addend)
            if (addend) product = matmul_add<right>(addend->hidden, addend->head, Nothing(), product);
        return product;
    }

    detail::ExtentsOf<shape_type> extents_;
};

template <TensorLike H, TensorLike W>
Logits(const H&, const W&) -> Logits<H, W>;
template <TensorLike H, TensorLike W>
Logits(const H&, const W&, const LogitsOptions&) -> Logits<H, W, LogitsOptions>;
template <TensorLike H, TensorLike W, class Options, class Addend>
Logits(const H&, const W&, const Options&, const Addend&) -> Logits<H, W, Options, Addend>;

namespace detail {

template <class X>
inline constexpr bool is_logits = false;
template <class H, class W, class Options, class Addend>
inline constexpr bool is_logits<Logits<H, W, Options, Addend>> = true;

}  // namespace detail
}  // namespace tenon
