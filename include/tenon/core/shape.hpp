#pragma once

#include <utility>

#include <tenon/core/extents.hpp>

namespace tenon {

/// The shape of a tensor, as a type: `Shape<8, upto<2048>, 768>`. `Shape<>` is a scalar's.
template <ExtentType auto... E>
    requires(sizeof...(E) <= max_rank)
struct Shape {
    static constexpr int rank = sizeof...(E);

    /// The extents as codes; plain lengths where `is_static`.
    static constexpr Extents codes = [] {
        Extents extents;
        (extents.append(extent_code(E)), ...);
        return extents;
    }();

    static constexpr bool is_static = codes.all_exact();
    static constexpr int dynamic_count = (0 + ... + (is_exact(extent_code(E)) ? 0 : 1));
};

namespace detail {

template <ExtentCode Code>
constexpr auto decode_extent() {
    if constexpr (is_exact(Code))
        return Code;
    else if constexpr (is_bounded(Code))
        return upto<bound_of(Code)>;
    else
        return dyn;
}

template <class Rule, class Axes>
struct DecodeShape;
template <class Rule, int... Axis>
struct DecodeShape<Rule, std::integer_sequence<int, Axis...>> {
    using type = Shape<decode_extent<Rule::extents[Axis]>()...>;
};

}  // namespace detail

/// The shape type of what a rule deduced: `Rule::extents`, a constant, holds its codes. (The rule is passed
/// as a type since g++ 12 fails on values of class type here.)
template <class Rule>
using ShapeOf = typename detail::DecodeShape<Rule, std::make_integer_sequence<int, Rule::extents.rank>>::type;

template <class S>
inline constexpr bool is_shape = false;
template <auto... E>
inline constexpr bool is_shape<Shape<E...>> = true;

/// What a shape rule returns: the resulting extents, or the number of the fault (0: none).
struct Deduction {
    Extents extents;
    int fault = 0;

    constexpr bool ok() const { return fault == 0; }
};

/// Product of extents, as an extent: `Shape<times<heads, head_width>>`.
template <auto A, auto B>
inline constexpr auto times = detail::decode_extent<multiply_extents(extent_code(A), extent_code(B))>();

/// The rule of broadcasting: axes are aligned at the end; extents are equal, or one of them is 1.
constexpr Deduction broadcast_rule(const Extents& a, const Extents& b) {
    Deduction result;
    result.extents.rank = a.rank > b.rank ? a.rank : b.rank;
    for (int back = 0; back < result.extents.rank; ++back) {
        const ExtentCode x = a.from_end(back), y = b.from_end(back);
        ExtentCode& out = result.extents[result.extents.rank - 1 - back];
        if (x == 1) {
            out = y;
        } else if (y == 1) {
            out = x;
        } else {
            if (extents_conflict(x, y)) result.fault = 1;
            out = is_exact(x) || is_exact(y) ? refine_extent(x, y) : x == y ? x : dyn_code;
        }
    }
    return result;
}

/// Broadcasting of two shape types, as a rule for `ShapeOf`.
template <class A, class B>
struct Broadcast {
    static constexpr Deduction deduction = broadcast_rule(A::codes, B::codes);
    static constexpr Extents extents = deduction.extents;
};

/// Whether a tensor of extents `from` may become one of extents `to`: equal rank, no extent in conflict.
constexpr bool may_convert(const Extents& from, const Extents& to) {
    if (from.rank != to.rank) return false;
    for (int axis = 0; axis < from.rank; ++axis)
        if (extents_conflict(from[axis], to[axis])) return false;
    return true;
}

}  // namespace tenon
