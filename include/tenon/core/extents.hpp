#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

#include <tenon/core/host_device.hpp>

/// The kinds of extent that are not a plain number. Write `tenon::dyn` and `tenon::upto<N>`: the values below
/// are of these types, and compilers print them as the user wrote them.
namespace tenon::extent {

/// Known at run time only.
struct dyn {};

/// Known at run time, at most Bound.
template <int Bound>
struct upto {
    static_assert(Bound > 0, "upto<N>: N must be positive");
};

}  // namespace tenon::extent

namespace tenon {

/// An extent that is known at run time only: `Shape<dyn, 768>`.
inline constexpr extent::dyn dyn{};

/// An extent whose length is known at run time and whose capacity is known now: `Shape<upto<2048>, 768>`.
template <int Bound>
inline constexpr extent::upto<Bound> upto{};

/// The greatest number of axes.
inline constexpr int max_rank = 6;

/// An extent as a number, so that one rule serves types and values: n >= 0 is exact, -1 is `dyn`, and
/// -1 - n is `upto<n>`. At run time every code is exact.
using ExtentCode = int;

inline constexpr ExtentCode dyn_code = -1;

constexpr ExtentCode extent_code(int exact) { return exact; }
constexpr ExtentCode extent_code(extent::dyn) { return dyn_code; }
template <int Bound>
constexpr ExtentCode extent_code(extent::upto<Bound>) {
    return -1 - Bound;
}

/// What may stand in a `Shape`: an `int`, `dyn`, or `upto<N>`.
template <class E>
concept ExtentType = std::same_as<E, int> || requires(E e) {
    requires std::is_class_v<E>;
    { extent_code(e) } -> std::same_as<int>;
};

TENON_HOST_DEVICE constexpr bool is_exact(ExtentCode code) { return code >= 0; }
TENON_HOST_DEVICE constexpr bool is_bounded(ExtentCode code) { return code < dyn_code; }
TENON_HOST_DEVICE constexpr int bound_of(ExtentCode code) { return is_bounded(code) ? -1 - code : code; }

/// Whether two extents that must be equal certainly are not.
constexpr bool extents_conflict(ExtentCode a, ExtentCode b) {
    if (is_exact(a) && is_exact(b)) return a != b;
    if (is_exact(a) && is_bounded(b)) return a > bound_of(b);
    if (is_bounded(a) && is_exact(b)) return b > bound_of(a);
    return false;
}

/// The more precise of two extents that are equal: exact before the smaller bound before `dyn`.
constexpr ExtentCode refine_extent(ExtentCode a, ExtentCode b) {
    if (is_exact(a)) return a;
    if (is_exact(b)) return b;
    if (is_bounded(a) && is_bounded(b)) return a > b ? a : b;
    return is_bounded(a) ? a : b;
}

/// Product of two extents: bounded if both are at most bounded, `dyn` if either is.
constexpr ExtentCode multiply_extents(ExtentCode a, ExtentCode b) {
    if (is_exact(a) && is_exact(b)) return a * b;
    if (a == dyn_code || b == dyn_code) return dyn_code;
    return -1 - bound_of(a) * bound_of(b);
}

/// The extents of a tensor: codes in a type's rules, plain lengths at run time.
struct Extents {
    int rank = 0;
    ExtentCode size[max_rank] = {};

    constexpr Extents() = default;
    template <class... E>
        requires(sizeof...(E) > 0 && sizeof...(E) <= max_rank && (std::convertible_to<E, int> && ...))
    constexpr explicit Extents(E... extents) : rank(sizeof...(E)), size{static_cast<int>(extents)...} {}

    TENON_HOST_DEVICE constexpr ExtentCode operator[](int axis) const { return size[axis]; }
    TENON_HOST_DEVICE constexpr ExtentCode& operator[](int axis) { return size[axis]; }

    /// The extent that lies `back` axes before the end; 1 beyond the front, as broadcasting reads it.
    constexpr ExtentCode from_end(int back) const { return back < rank ? size[rank - 1 - back] : 1; }

    constexpr void append(ExtentCode extent) { size[rank++] = extent; }

    constexpr bool all_exact() const {
        for (int axis = 0; axis < rank; ++axis)
            if (!is_exact(size[axis])) return false;
        return true;
    }

    /// Number of elements; 64 bits. Bounds count as lengths, so that this is the capacity of a bounded shape.
    TENON_HOST_DEVICE constexpr std::int64_t count(int first = 0) const { return count(first, rank); }
    TENON_HOST_DEVICE constexpr std::int64_t count(int first, int last) const {
        std::int64_t product = 1;
        for (int axis = first; axis < last; ++axis) product *= bound_of(size[axis]);
        return product;
    }

    friend constexpr bool operator==(const Extents& a, const Extents& b) {
        if (a.rank != b.rank) return false;
        for (int axis = 0; axis < a.rank; ++axis)
            if (a.size[axis] != b.size[axis]) return false;
        return true;
    }
};

/// Elements between neighbours along each axis.
struct Strides {
    std::int64_t step[max_rank] = {};

    TENON_HOST_DEVICE constexpr std::int64_t operator[](int axis) const { return step[axis]; }
    TENON_HOST_DEVICE constexpr std::int64_t& operator[](int axis) { return step[axis]; }
};

/// Strides of a packed row-major tensor.
constexpr Strides row_major_strides(const Extents& extents) {
    Strides strides;
    std::int64_t step = 1;
    for (int axis = extents.rank - 1; axis >= 0; --axis) {
        strides[axis] = step;
        step *= extents[axis];
    }
    return strides;
}

}  // namespace tenon
