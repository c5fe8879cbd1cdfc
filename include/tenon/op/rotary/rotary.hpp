#pragma once

#include <cmath>

#include <tenon/op/operation.hpp>

namespace tenon {

/// Rotary position embedding: each pair of a head's elements is turned by an angle proportional to its
/// position (Su et al. 2021, "RoFormer").
struct Rotary {};

/// Which elements make up a pair.
enum class RotaryPairs {
    interleaved,  ///< (0, 1), (2, 3), …: the paper's, and CS336's
    half_split,   ///< (0, D / 2), (1, D / 2 + 1), …: that of checkpoints in Hugging Face's form
};

namespace mismatch {
/// rotary(x, table): x is no [batch, time, heads, width] with an even width.
template <class X, class Table>
struct rotary_needs_an_even_width;
/// rotary(x, table): the table is for another width.
template <class X, class Table>
struct rotary_widths_differ;
}  // namespace mismatch

/// Cosines and sines of the angles position · base^(-2 i / width), [positions, width / 2] each.
template <class C, class Device = Cpu>
class RotaryTable {
public:
    RotaryTable() = default;

    /// Computed in double precision.
    RotaryTable(int positions, int width, double base)
        : width(width),
          cosine(Tensor<C, Shape<dyn, dyn>>::uninitialized(positions, width / 2)),
          sine(Tensor<C, Shape<dyn, dyn>>::uninitialized(positions, width / 2)) {
        for (int i = 0; i < width / 2; ++i) {
            const double frequency = std::pow(base, -2.0 * i / width);
            for (int position = 0; position < positions; ++position) {
                cosine(position, i) = static_cast<C>(std::cos(position * frequency));
                sine(position, i) = static_cast<C>(std::sin(position * frequency));
            }
        }
    }

    int positions() const { return cosine.extents()[0]; }

    int width = 0;
    Tensor<C, Shape<dyn, dyn>, Device> cosine, sine;
};

constexpr bool rotary_fits(const Extents& x) { return x.rank == 4 && !(is_exact(x[3]) && x[3] % 2 != 0); }

namespace detail {

template <class Device, class T>
struct RotaryNode : Node {
    SlotReference slot;
    Extents extents;
    RotaryTable<ComputeOf<T>, Device> table;
    int first_position;
    RotaryPairs pairs;

    void backward() {
        using C = ComputeOf<T>;
        if (!slot) return;
        const Contribution<C> gradient = contribute<C, Device>(*slot);
        // A rotation's derivative is the rotation back.
        Kernel<Rotary, Device>::run(
            {static_cast<C*>(output.storage.data()), extents, row_major_strides(extents)}, table,
            first_position, pairs, true, gradient.data, gradient.accumulate);
    }
};

}  // namespace detail

/// Turns x [batch, time, heads, width] by its positions, which count from `first_position` along the axis of
/// time. Throws ShapeError where the table has another width or too few positions.
template <Argument A, class C, class Device>
    requires(rotary_fits(ShapeOfArgument<A>::codes))
auto rotary(A&& argument, const RotaryTable<C, Device>& table, RotaryPairs pairs, int first_position = 0) {
    const auto x = evaluate(std::forward<A>(argument));
    using X = std::remove_const_t<decltype(x)>;
    using T = typename X::value_type;
    if (!rotary_fits(x.extents()))
        throw_mismatch<mismatch::rotary_needs_an_even_width>(x.extents(), table.cosine.extents());
    if (x.extents()[3] != table.width)
        throw_mismatch<mismatch::rotary_widths_differ>(x.extents(), table.cosine.extents());
    if (first_position < 0 || first_position + x.extents()[1] > table.positions())
        throw ShapeError("rotary: expected positions below " + std::to_string(table.positions()) + ", got " +
                         std::to_string(first_position) + " to " +
                         std::to_string(first_position + x.extents()[1] - 1));
    auto y = Tensor<T, typename X::shape_type, Device>::with_extents(x.extents());
    Kernel<Rotary, Device>::run(x.view(), table, first_position, pairs, false, y.data(), false);
    if constexpr (X::is_tracked)
        return track<detail::RotaryNode<Device, T>>(y, gradient_slot(x), x.extents(), table, first_position,
                                                    pairs);
    else
        return y;
}
template <Argument A, class C, class Device>
    requires(!rotary_fits(ShapeOfArgument<A>::codes))
mismatch::rotary_needs_an_even_width<ShapeOfArgument<A>, RotaryTable<C, Device>> rotary(
    A&&, const RotaryTable<C, Device>&, RotaryPairs, int = 0);
template <class A, class C, class Device>
    requires NamedExpression<A> NamedExpressionError<Rotary, A> rotary(A&&, const RotaryTable<C, Device>&,
                                                                       RotaryPairs, int = 0);

}  // namespace tenon
