#pragma once

#include <tenon/expression/expression.hpp>
#include <tenon/expression/program.hpp>
#include <tenon/expression/tree.hpp>

namespace tenon {
namespace detail {

/// The innermost axis of an iteration: the last whose extent is not 1 by type. -1 for a scalar.
constexpr int innermost_axis(const Extents& codes) {
    for (int axis = codes.rank - 1; axis >= 0; --axis)
        if (codes[axis] != 1) return axis;
    return codes.rank - 1;
}

/// Where a part of an expression is evaluated: in a row loop over `whole`, along its axis `inner`.
struct Place {
    Extents whole;
    int inner = 0;
    bool is_per_row = false;  // the loop has one element a row, on an axis that the shapes lack
    int joined = 1;           // so many axes, `inner` the last, are iterated as one
};

/// Whether a leaf does not vary along the last axes of what is iterated.
constexpr bool is_uniform(const Extents& own, int axes) {
    for (int back = 0; back < axes; ++back)
        if (own.from_end(back) != 1) return false;
    return true;
}

/// How a leaf is read, from its type alone.
constexpr tree::Access access_of(const Place& place, const Extents& own, bool is_packed) {
    if (place.joined > 1)
        return is_uniform(own, place.joined) ? tree::Access::uniform : tree::Access::contiguous;
    const int axis = place.inner - (place.whole.rank - own.rank);
    if (axis < 0 || own[axis] == 1) return tree::Access::uniform;
    return is_packed && is_exact(own[axis]) ? tree::Access::contiguous : tree::Access::strided;
}

/// What an expression's leaves have in common along the last axes of `whole`.
struct JoinableLeaves {
    bool fit = true;  // each lies there in one piece, or does not vary
    int varying = 0;

    constexpr JoinableLeaves operator+(const JoinableLeaves& other) const {
        return {fit && other.fit, varying + other.varying};
    }
};

template <class X>
struct Joinable;
template <>
struct Joinable<Scalar> {
    static constexpr JoinableLeaves along(const Extents&, int) { return {}; }
};
template <class T, class S, class D, class G, class Layout>
struct Joinable<Tensor<T, S, D, G, Layout>> {
    static constexpr JoinableLeaves along(const Extents& whole, int axes) {
        if (is_uniform(S::codes, axes)) return {};
        bool fits = Layout::is_packed;
        for (int back = 0; back < axes; ++back)
            fits = fits && S::codes.from_end(back) == whole.from_end(back);
        return {fits, 1};
    }
};
template <class F, class A>
struct Joinable<Expression<F, A, void>> : Joinable<A> {};
template <class F, class A, class B>
struct Joinable<Expression<F, A, B>> {
    static constexpr JoinableLeaves along(const Extents& whole, int axes) {
        return Joinable<A>::along(whole, axes) + Joinable<B>::along(whole, axes);
    }
};
template <class R, bool keeps_axis, int axes, class A>
struct Joinable<Reduction<R, keeps_axis, axes, A>> {
    static constexpr JoinableLeaves along(const Extents&, int) { return {.fit = false}; }
};

/// Whether the last axes of an expression may be iterated as one, as far as its type tells.
template <class X>
constexpr bool joins_last_axes(int axes) {
    const Extents whole = X::shape_type::codes;
    const JoinableLeaves leaves = Joinable<X>::along(whole, axes);
    bool is_exact = true;
    for (int back = 0; back < axes; ++back) is_exact = is_exact && tenon::is_exact(whole.from_end(back));
    // Of two leaves of unknown lengths, one may turn out to be broadcast.
    return leaves.fit && (is_exact || leaves.varying == 1);
}

template <class E>
struct RootPlace {
    static constexpr Place place = [] {
        const Extents codes = E::shape_type::codes;
        if (!E::row_codes.reduces) return Place{codes, innermost_axis(codes), false};
        Extents whole = codes;
        if (E::row_codes.drops_axis) whole.append(1);
        return Place{whole, whole.rank - 1, E::row_codes.drops_axis};
    }();
};

template <class A, int axes>
struct ReductionPlace {
    static constexpr Place place{A::shape_type::codes, A::shape_type::codes.rank - 1, false, axes};
};

/// What the values of a part of an expression are for.
enum class Need {
    value,     ///< the result
    gradient,  ///< the derivative, which this part's own value does not enter
    both,      ///< the derivative, which this part's own value enters
};

/// What an argument of F is needed for: `is_tracked` says whether any argument has a gradient,
/// `other_is_tracked` whether another one has.
template <class F>
constexpr Need need_of_argument(Need own, bool is_tracked, bool other_is_tracked) {
    using enum functor::DerivativeUses;
    if (own != Need::gradient || !is_tracked) return own;
    const functor::DerivativeUses uses = functor::derivative_uses<F>;
    return uses == everything || (uses == other_argument && other_is_tracked) ? Need::both : Need::gradient;
}

/// An expression's canonical tree: shapes gone; leaves, constants and reductions numbered in order from the
/// numbers given. `leaves`, `constants` and `reductions` are the numbers after it.
template <class X, class At, int Leaves, int Constants, int Reductions, Need need>
struct Lower;

template <class T, class S, class D, class G, class Layout, class At, int Leaves, int Constants,
          int Reductions, Need need>
struct Lower<Tensor<T, S, D, G, Layout>, At, Leaves, Constants, Reductions, need> {
    static constexpr Place place = At::place;
    static constexpr tree::Access access =
        place.is_per_row ? tree::Access::uniform : access_of(place, S::codes, Layout::is_packed);
    using type = tree::Leaf<T, Leaves, access, need != Need::value && G::is_tracked, need != Need::gradient>;
    static constexpr int leaves = Leaves + 1, constants = Constants, reductions = Reductions;

    template <class Inputs>
    static void collect(const Tensor<T, S, D, G, Layout>& x, Inputs& inputs) {
        inputs.operands[Leaves] = {x.storage(),      x.data(),         x.extents(), x.strides(),
                                   gradient_slot(x), place.is_per_row, place.joined};
    }
};

template <class At, int Leaves, int Constants, int Reductions, Need need>
struct Lower<Scalar, At, Leaves, Constants, Reductions, need> {
    using type = tree::Constant<Constants>;
    static constexpr int leaves = Leaves, constants = Constants + 1, reductions = Reductions;

    template <class Inputs>
    static void collect(const Scalar& x, Inputs& inputs) {
        inputs.constants[Constants] =
            static_cast<std::remove_reference_t<decltype(inputs.constants[0])>>(x.value);
    }
};

template <class F, class A, class At, int Leaves, int Constants, int Reductions, Need need>
struct Lower<Expression<F, A, void>, At, Leaves, Constants, Reductions, need> {
    using LowerA =
        Lower<A, At, Leaves, Constants, Reductions, need_of_argument<F>(need, Traits<A>::is_tracked, false)>;
    using type = tree::Apply<F, typename LowerA::type>;
    static constexpr int leaves = LowerA::leaves, constants = LowerA::constants,
                         reductions = LowerA::reductions;

    template <class Inputs>
    static void collect(const Expression<F, A, void>& x, Inputs& inputs) {
        LowerA::collect(x.a, inputs);
    }
};

template <class F, class A, class B, class At, int Leaves, int Constants, int Reductions, Need need>
struct Lower<Expression<F, A, B>, At, Leaves, Constants, Reductions, need> {
    static constexpr bool is_tracked = Traits<A>::is_tracked || Traits<B>::is_tracked;
    using LowerA = Lower<A, At, Leaves, Constants, Reductions,
                         need_of_argument<F>(need, is_tracked, Traits<B>::is_tracked)>;
    using LowerB = Lower<B, At, LowerA::leaves, LowerA::constants, LowerA::reductions,
                         need_of_argument<F>(need, is_tracked, Traits<A>::is_tracked)>;
    using type = tree::Apply<F, typename LowerA::type, typename LowerB::type>;
    static constexpr int leaves = LowerB::leaves, constants = LowerB::constants,
                         reductions = LowerB::reductions;

    template <class Inputs>
    static void collect(const Expression<F, A, B>& x, Inputs& inputs) {
        LowerA::collect(x.a, inputs);
        LowerB::collect(x.b, inputs);
    }
};

template <class R, bool keeps_axis, int axes, class A, class At, int Leaves, int Constants, int Reductions,
          Need need>
struct Lower<Reduction<R, keeps_axis, axes, A>, At, Leaves, Constants, Reductions, need> {
    using LowerA = Lower<A, ReductionPlace<A, axes>, Leaves, Constants, Reductions,
                         need == Need::gradient && R::selects && A::is_tracked ? Need::both : need>;
    static constexpr int index = LowerA::reductions;
    using type = tree::Reduce<R, index, typename LowerA::type>;
    static constexpr int leaves = LowerA::leaves, constants = LowerA::constants, reductions = index + 1;

    template <class Inputs>
    static void collect(const Reduction<R, keeps_axis, axes, A>& x, Inputs& inputs) {
        LowerA::collect(x.a, inputs);
        inputs.lengths[index] = x.a.extents().count(A::shape_type::rank - axes);
    }
};

template <class Device, class Tree, bool per_row, class T, class C, int L, int K, int N>
[[gnu::noinline]] void run_forward(const program::Inputs<C, L, K, N>& inputs, T* out) {
    Kernel<Elementwise, Device>::template forward<Tree, per_row>(program::prepare(inputs), out);
}

/// Lets go of the values that a gradient does not depend on.
template <class Tree, class Inputs>
void release_values(Tree tree, Inputs& inputs) {
    tree::for_every_leaf(tree, [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                                   tree::Leaf<T, Index, access, is_tracked, has_value>) {
        if constexpr (!has_value) {
            inputs.operands[Index].storage.reset();  // clang++ 16 would leak by `= {}` here
            inputs.operands[Index].data = nullptr;
        }
    });
}

/// A whole fused expression on the tape.
template <class Device, class Tree, bool per_row, class G, class C, int L, int K, int N>
struct ExpressionNode : Node {
    program::Inputs<C, L, K, N> inputs;

    void backward() {
        hand_on_gradients(Tree{});
        bool is_wanted = false;
        for (const program::Operand& operand : inputs.operands) is_wanted = is_wanted || operand.slot;
        if (!is_wanted) return;
        Kernel<Elementwise, Device>::template backward<Tree, per_row>(
            program::prepare(inputs), static_cast<const G*>(output.storage.data()));
    }

private:
    /// An addend's gradient is that of the sum: nothing is computed or copied, unless it has one already.
    void hand_on_gradients(Tree tree) {
        tree::for_each_leaf(
            tree, [&]<class T, int Index, tree::Access access, bool is_tracked, bool has_value>(
                      tree::Leaf<T, Index, access, is_tracked, has_value>) {
                if constexpr (tree::passes_gradient<Tree, Index> && std::same_as<GradientOf<T, Device>, G>) {
                    SlotReference& slot = inputs.operands[Index].slot;
                    if (!slot || slot->storage || slot->is_wide || slot->count != output.count) return;
                    hand_on(*this, *slot);
                    slot = SlotReference();
                }
            });
    }
};

}  // namespace detail

/// Evaluates an expression to elements of type T: one fused pass over memory.
template <class T, Lazy E>
auto materialize_as(const E& expression) {
    using S = typename E::shape_type;
    using D = typename E::device_type;
    using C = ComputeOf<typename E::value_type>;
    using At = detail::RootPlace<E>;
    constexpr detail::Place place = At::place;
    using Forward = detail::Lower<E, At, 0, 0, 0, detail::Need::value>;
    constexpr int leaves = Forward::leaves, constants = Forward::constants, reductions = Forward::reductions;
    // With reductions a last axis of 1 holds one element a row, too: it is computed once, not in packets.
    constexpr bool per_row = E::row_codes.reduces && place.whole[place.whole.rank - 1] == 1;

    program::Inputs<C, leaves, constants, reductions> inputs;
    inputs.whole = expression.extents();
    if (place.is_per_row) inputs.whole.append(1);
    inputs.inner = place.inner;
    Forward::collect(expression, inputs);

    auto result = Tensor<T, S, D>::with_extents(expression.extents());
    detail::run_forward<D, typename Forward::type, per_row>(inputs, result.data());
    if constexpr (E::is_tracked) {
        using Reverse = detail::Lower<E, At, 0, 0, 0, detail::Need::gradient>;
        static_assert(tree::gradients_are<typename Reverse::type, C> && std::same_as<ComputeOf<T>, C>,
                      "tracked values of f32 and f64 do not mix in an expression");
        using Node = detail::ExpressionNode<D, typename Reverse::type, per_row, GradientOf<T, D>, C, leaves,
                                            constants, reductions>;
        detail::release_values(typename Reverse::type{}, inputs);
        return track<Node>(result, std::move(inputs));
    } else {
        return result;
    }
}

/// Evaluates an expression; a tensor is returned as it is.
template <class X>
auto evaluate(X&& x) {
    using Plain = std::remove_cvref_t<X>;
    if constexpr (Lazy<Plain>)
        return materialize_as<typename Plain::value_type>(x);
    else if constexpr (detail::HasTensor<Plain>)
        return x.tensor();
    else
        return Plain(std::forward<X>(x));
}

}  // namespace tenon
