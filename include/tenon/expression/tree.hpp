#pragma once

#include <cstdint>
#include <type_traits>

#include <tenon/core/element.hpp>
#include <tenon/core/host_device.hpp>
#include <tenon/core/math.hpp>
#include <tenon/core/transfer.hpp>
#include <tenon/expression/functor.hpp>

/// An expression without its shapes: functors, element types, and how each leaf is read along the innermost
/// axis. Loops, kernels and nodes are instantiated by this tree only, so that models of different sizes share
/// them.
namespace tenon::tree {

/// How a leaf lies along the innermost axis of the iteration.
enum class Access {
    contiguous,  ///< neighbours are neighbours in memory
    uniform,     ///< one element serves the whole row
    strided,     ///< known at run time: any stride, 0 and 1 included
};

/// A tensor's elements. In the tree of a gradient that does not depend on them `has_value` is false: they are
/// not read, and need not be kept.
template <class T, int Index, Access access, bool is_tracked, bool has_value = true>
struct Leaf {};

/// A number that is given when the expression is built.
template <int Index>
struct Constant {};

template <class F, class... Arguments>
struct Apply {};

/// A reduction of Argument over the innermost axis: one number a row.
template <class R, int Index, class Argument>
struct Reduce {};

/// What an evaluation computes at each node of a tree, kept in registers for the gradient.
template <class Tree, class V>
struct Values {
    V value;
};
template <class F, class A, class V>
struct Values<Apply<F, A>, V> {
    V value;
    Values<A, V> a;
};
template <class F, class A, class B, class V>
struct Values<Apply<F, A, B>, V> {
    V value;
    Values<A, V> a;
    Values<B, V> b;
};

namespace detail {

template <class V>
inline constexpr int width = 1;
template <class V>
    requires requires { V::size; }
inline constexpr int width<V> = V::size;

template <class V, class C, class T>
TENON_HOST_DEVICE V read_strided(const T* data, std::int64_t step) {
    if constexpr (width<V> == 1) {
        return load_as<V>(data);
    } else {
        if (step == 1) return load_as<V>(data);
        if (step == 0) return V(load_as<C>(data));
        C lanes[width<V>];
        for (int lane = 0; lane < width<V>; ++lane) lanes[lane] = load_as<C>(data + lane * step);
        return V::load(lanes);
    }
}

}  // namespace detail

/// Where a row's leaves are, in memory. C is the type of computation. Another cursor may have them elsewhere:
/// an evaluation asks for `leaf_value`, `constant` and `reduced` only.
template <class C, int Leaves, int Constants, int Reductions>
struct Cursor {
    const void* leaf[Leaves];
    std::int64_t step[Leaves];
    C constant[Constants > 0 ? Constants : 1];
    C reduced[Reductions > 0 ? Reductions : 1];
    std::int64_t length[Reductions > 0 ? Reductions : 1];  // of the rows that are reduced

    template <class V, class T, int Index, Access access>
    TENON_HOST_DEVICE V leaf_value(std::int64_t at) const {
        const T* data = static_cast<const T*>(leaf[Index]);
        if constexpr (access == Access::contiguous)
            return load_as<V>(data + at);
        else if constexpr (access == Access::uniform)
            return V(load_as<C>(data));
        else
            return detail::read_strided<V, C>(data + at * step[Index], step[Index]);
    }
};

namespace detail {

template <class Tree>
struct Evaluate;

template <class T, int Index, Access access, bool is_tracked>
struct Evaluate<Leaf<T, Index, access, is_tracked>> {
    template <class V, class Cursor>
    TENON_HOST_DEVICE static Values<Leaf<T, Index, access, is_tracked>, V> run(const Cursor& cursor,
                                                                               std::int64_t at) {
        return {cursor.template leaf_value<V, T, Index, access>(at)};
    }
};

template <class T, int Index, Access access, bool is_tracked>
struct Evaluate<Leaf<T, Index, access, is_tracked, false>> {
    template <class V, class Cursor>
    TENON_HOST_DEVICE static Values<Leaf<T, Index, access, is_tracked, false>, V> run(const Cursor&,
                                                                                      std::int64_t) {
        return {V(0.0f)};
    }
};

template <int Index>
struct Evaluate<Constant<Index>> {
    template <class V, class Cursor>
    TENON_HOST_DEVICE static Values<Constant<Index>, V> run(const Cursor& cursor, std::int64_t) {
        return {V(cursor.constant[Index])};
    }
};

template <class R, int Index, class A>
struct Evaluate<Reduce<R, Index, A>> {
    template <class V, class Cursor>
    TENON_HOST_DEVICE static Values<Reduce<R, Index, A>, V> run(const Cursor& cursor, std::int64_t) {
        return {V(cursor.reduced[Index])};
    }
};

template <class F, class A>
struct Evaluate<Apply<F, A>> {
    template <class V, class Cursor>
    TENON_HOST_DEVICE static Values<Apply<F, A>, V> run(const Cursor& cursor, std::int64_t at) {
        Values<Apply<F, A>, V> values;
        values.a = Evaluate<A>::template run<V>(cursor, at);
        values.value = F::value(values.a.value);
        return values;
    }
};

template <class F, class A, class B>
struct Evaluate<Apply<F, A, B>> {
    template <class V, class Cursor>
    TENON_HOST_DEVICE static Values<Apply<F, A, B>, V> run(const Cursor& cursor, std::int64_t at) {
        Values<Apply<F, A, B>, V> values;
        values.a = Evaluate<A>::template run<V>(cursor, at);
        values.b = Evaluate<B>::template run<V>(cursor, at);
        values.value = F::value(values.a.value, values.b.value);
        return values;
    }
};

}  // namespace detail

/// The values of a tree at an element (or packet of elements) of a row.
template <class Tree, class V, class Cursor>
TENON_HOST_DEVICE Values<Tree, V> evaluate(const Cursor& cursor, std::int64_t at) {
    return detail::Evaluate<Tree>::template run<V>(cursor, at);
}

/// Whether any leaf that a gradient must reach lies in a tree, reductions' arguments included.
template <class Tree>
inline constexpr bool needs_gradient = false;
template <class T, int Index, Access access, bool has_value>
inline constexpr bool needs_gradient<Leaf<T, Index, access, true, has_value>> = true;
template <class F, class... A>
inline constexpr bool needs_gradient<Apply<F, A...>> = (needs_gradient<A> || ...);
template <class R, int Index, class A>
inline constexpr bool needs_gradient<Reduce<R, Index, A>> = needs_gradient<A>;

/// Whether the gradients of all tracked leaves are of type C, as those of an evaluation in C are.
template <class Tree, class C>
inline constexpr bool gradients_are = true;
template <class T, int Index, Access access, bool has_value, class C>
inline constexpr bool gradients_are<Leaf<T, Index, access, true, has_value>, C> =
    std::same_as<ComputeOf<T>, C>;
template <class F, class... A, class C>
inline constexpr bool gradients_are<Apply<F, A...>, C> = (gradients_are<A, C> && ...);
template <class R, int Index, class A, class C>
inline constexpr bool gradients_are<Reduce<R, Index, A>, C> = gradients_are<A, C>;

/// Carries the gradient of a tree's value down to its leaves and reductions, which `sink` takes:
/// `sink.leaf<Index, access>(at, gradient)` and `sink.reduced<Index>(gradient)`.
template <class Tree>
struct Reverse {
    template <class V, class Sink>
    TENON_HOST_DEVICE static void run(const Values<Tree, V>&, V, Sink&, std::int64_t) {}
};

template <class T, int Index, Access access, bool has_value>
struct Reverse<Leaf<T, Index, access, true, has_value>> {
    template <class V, class Sink>
    TENON_HOST_DEVICE static void run(const Values<Leaf<T, Index, access, true, has_value>, V>&, V gradient,
                                      Sink& sink, std::int64_t at) {
        sink.template leaf<Index, access>(at, gradient);
    }
};

template <class R, int Index, class A>
struct Reverse<Reduce<R, Index, A>> {
    template <class V, class Sink>
    TENON_HOST_DEVICE static void run(const Values<Reduce<R, Index, A>, V>&, V gradient, Sink& sink,
                                      std::int64_t) {
        if constexpr (needs_gradient<A>) sink.template reduced<Index>(gradient);
    }
};

template <class F, class A>
struct Reverse<Apply<F, A>> {
    template <class V, class Sink>
    TENON_HOST_DEVICE static void run(const Values<Apply<F, A>, V>& values, V gradient, Sink& sink,
                                      std::int64_t at) {
        if constexpr (needs_gradient<A>)
            Reverse<A>::run(values.a, gradient * F::derivative(values.a.value, values.value), sink, at);
    }
};

template <class F, class A, class B>
struct Reverse<Apply<F, A, B>> {
    template <class V, class Sink>
    TENON_HOST_DEVICE static void run(const Values<Apply<F, A, B>, V>& values, V gradient, Sink& sink,
                                      std::int64_t at) {
        const functor::Partials<V> partials = F::derivative(values.a.value, values.b.value, values.value);
        if constexpr (needs_gradient<A>) Reverse<A>::run(values.a, gradient * partials.first, sink, at);
        if constexpr (needs_gradient<B>) Reverse<B>::run(values.b, gradient * partials.second, sink, at);
    }
};

/// Whether the gradient of leaf `Index` is that of the whole: only sums are above it.
template <class Tree, int Index>
inline constexpr bool passes_gradient = false;
template <class T, int Index, Access access, bool has_value>
inline constexpr bool passes_gradient<Leaf<T, Index, access, true, has_value>, Index> = true;
template <class A, int Index>
inline constexpr bool passes_gradient<Apply<functor::Identity, A>, Index> = passes_gradient<A, Index>;
template <class A, class B, int Index>
inline constexpr bool passes_gradient<Apply<functor::Add, A, B>, Index> =
    passes_gradient<A, Index> || passes_gradient<B, Index>;
template <class A, class B, int Index>
inline constexpr bool passes_gradient<Apply<functor::Subtract, A, B>, Index> = passes_gradient<A, Index>;

/// The reductions of a tree, each after those that it contains.
template <class... Reductions>
struct ReductionList {
    static constexpr int size = sizeof...(Reductions);
};

namespace detail {
template <class A, class B>
struct Join;
template <class... A, class... B>
struct Join<ReductionList<A...>, ReductionList<B...>> {
    using type = ReductionList<A..., B...>;
};

template <class Tree>
struct Reductions {
    using type = ReductionList<>;
};
template <class F, class A>
struct Reductions<Apply<F, A>> : Reductions<A> {};
template <class F, class A, class B>
struct Reductions<Apply<F, A, B>> : Join<typename Reductions<A>::type, typename Reductions<B>::type> {};
template <class R, int Index, class A>
struct Reductions<Reduce<R, Index, A>>
    : Join<typename Reductions<A>::type, ReductionList<Reduce<R, Index, A>>> {};
}  // namespace detail

template <class Tree>
using ReductionsOf = typename detail::Reductions<Tree>::type;

/// The leaves of a tree in order, those within reductions excluded.
template <class... Leaves>
struct LeafList {};

namespace detail {
template <class A, class B>
struct JoinLeaves;
template <class... A, class... B>
struct JoinLeaves<LeafList<A...>, LeafList<B...>> {
    using type = LeafList<A..., B...>;
};

template <class Tree>
struct Leaves {
    using type = LeafList<>;
};
template <class T, int Index, Access access, bool is_tracked, bool has_value>
struct Leaves<Leaf<T, Index, access, is_tracked, has_value>> {
    using type = LeafList<Leaf<T, Index, access, is_tracked, has_value>>;
};
template <class F, class A>
struct Leaves<Apply<F, A>> : Leaves<A> {};
template <class F, class A, class B>
struct Leaves<Apply<F, A, B>> : JoinLeaves<typename Leaves<A>::type, typename Leaves<B>::type> {};
}  // namespace detail

template <class Tree>
using LeavesOf = typename detail::Leaves<Tree>::type;

/// Calls visit(Leaf<…>{}) for every leaf of a tree that lies outside of reductions. For the host.
template <class Tree, class Visit>
void for_each_leaf(Tree, Visit&& visit) {
    [&]<class... A>(LeafList<A...>) { (visit(A{}), ...); }(LeavesOf<Tree>{});
}

/// The same for every leaf, those inside of reductions included.
template <class Tree, class Visit>
void for_every_leaf(Tree tree, Visit&& visit) {
    for_each_leaf(tree, visit);
    [&]<class... R, int... Index, class... A>(ReductionList<Reduce<R, Index, A>...>) {
        (for_each_leaf(A{}, visit), ...);
    }(ReductionsOf<Tree>{});
}

}  // namespace tenon::tree
