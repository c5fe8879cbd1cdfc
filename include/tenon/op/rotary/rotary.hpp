#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <tenon/core/to_device.hpp>
#include <tenon/op/operation.hpp>
#include <tenon/op/rotary/frequencies.hpp>

namespace tenon {

/// Rotary position embedding: each pair of a head's elements is turned by an angle proportional to its
/// position (Su et al. 2021, "RoFormer").
struct Rotary {};

/// Which elements make up a pair.
enum class RotaryPairs {
    interleaved,  ///< (0, 1), (2, 3), …: the paper's, and CS336's
    half_split,   ///< (0, D / 2), (1, D / 2 + 1), …: that of checkpoints in Hugging Face's form; D: of
                  ///< elements, those that are turned
};

namespace mismatch {
/// rotary(x, table): x is no [batch, time, heads, width] with an even width.
template <class X, class Table>
struct rotary_needs_an_even_width;
/// rotary(x, table): the table is for another width.
template <class X, class Table>
struct rotary_widths_differ;
/// rotary(x, table, pairs, positions): positions are no [time] or [batch, time] of x.
template <class X, class Positions>
struct rotary_positions_differ;
}  // namespace mismatch

/// Cosines and sines of the angles position · frequency, [positions, pairs] each, for heads of `width`
/// elements. Where there are fewer pairs than half the width, the last elements are not turned.
template <class C, class Device = Cpu>
class RotaryTable {
public:
    RotaryTable() = default;

    /// Of the frequencies base^(-2 i / width). Computed in double precision, on the host.
    RotaryTable(int positions, int width, double base)
        : RotaryTable(positions, width, RotaryFrequencies(base, width)) {}

    /// Of frequencies in a sequence of `length` tokens; 0: each position's are those of the sequence that it
    /// ends, as if tokens had come one by one.
    RotaryTable(int positions, int width, const RotaryFrequencies& frequencies, int length = 0)
        : width(width) {
        const int pairs = frequencies.pairs();
        const double amplitude = frequencies.amplitude();
        auto cosines = Tensor<C, Shape<dyn, dyn>>::uninitialized(positions, pairs);
        auto sines = Tensor<C, Shape<dyn, dyn>>::uninitialized(positions, pairs);
        std::vector<double> radians = frequencies.in(length);
        for (int position = 0; position < positions; ++position) {
            if (length == 0 && frequencies.depend_on_length()) radians = frequencies.in(position + 1);
            for (int i = 0; i < pairs; ++i) {
                const double angle = position * radians[static_cast<std::size_t>(i)];
                cosines(position, i) = static_cast<C>(amplitude * std::cos(angle));
                sines(position, i) = static_cast<C>(amplitude * std::sin(angle));
            }
        }
        cosine = to_device<Device>(cosines);
        sine = to_device<Device>(sines);
    }

    int positions() const { return cosine.extents()[0]; }
    int pairs() const { return cosine.extents()[1]; }

    int width = 0;
    Tensor<C, Shape<dyn, dyn>, Device> cosine, sine;
};

/// Where the vectors of [batch, time] stand: one after the other from `first` on, or as `each` says, whose
/// rows lie `batch_stride` apart.
struct RotaryPositions {
    int first = 0;
    const int* each = nullptr;
    int batch_stride = 0;

    TENON_HOST_DEVICE std::int64_t at(std::int64_t batch, std::int64_t time) const {
        return each ? each[batch * batch_stride + time] : first + time;
    }
};

constexpr bool rotary_positions_fit(const Extents& x, const Extents& positions) {
    return (positions.rank == 1 && !extents_conflict(x[1], positions[0])) ||
           (positions.rank == 2 && !extents_conflict(x[0], positions[0]) &&
            !extents_conflict(x[1], positions[1]));
}

constexpr bool rotary_fits(const Extents& x) { return x.rank == 4 && !(is_exact(x[3]) && x[3] % 2 != 0); }

namespace detail {

template <class Device, class T>
struct RotaryNode : Node {
    SlotReference slot;
    Extents extents;
    RotaryTable<ComputeOf<T>, Device> table;
    RotaryPositions positions;
    Storage positions_storage;
    RotaryPairs pairs;

    void backward() {
        using G = GradientOf<T, Device>;
        if (!slot) return;
        // A rotation's derivative is the rotation back.
        Kernel<Rotary, Device>::run(
            ArrayView<G>{static_cast<G*>(output.storage.data()), extents, row_major_strides(extents)}, table,
            positions, pairs, true, contribute<T, Device>(*slot));
    }
};

template <TensorLike X, class C, class Device>
auto rotary(const X& x, const RotaryTable<C, Device>& table, RotaryPairs pairs,
            const RotaryPositions& positions, const Storage& positions_storage) {
    using T = typename X::value_type;
    if (!rotary_fits(x.extents()))
        throw_mismatch<mismatch::rotary_needs_an_even_width>(x.extents(), table.cosine.extents());
    if (x.extents()[3] != table.width || 2 * table.pairs() > table.width)
        throw_mismatch<mismatch::rotary_widths_differ>(x.extents(), table.cosine.extents());
    auto y = Tensor<T, typename X::shape_type, Device>::with_extents(x.extents());
    Kernel<Rotary, Device>::run(x.view(), table, positions, pairs, false, Contribution<T>{y.data()});
    if constexpr (X::is_tracked)
        return track<RotaryNode<Device, T>>(y, gradient_slot(x), x.extents(), table, positions,
                                            positions_storage, pairs);
    else
        return y;
}

}  // namespace detail

/// Turns x [batch, time, heads, width] by its positions, which count from `first_position` along the axis of
/// time. Throws ShapeError where the table has another width or too few positions.
template <Argument A, class C, class Device>
    requires(rotary_fits(ShapeOfArgument<A>::codes))
auto rotary(A&& argument, const RotaryTable<C, Device>& table, RotaryPairs pairs, int first_position = 0) {
    const auto x = evaluate(std::forward<A>(argument));
    const int time = x.extents()[1];
    if (first_position < 0 || first_position + time > table.positions())
        throw ShapeError("rotary: expected positions below " + std::to_string(table.positions()) + ", got " +
                         std::to_string(first_position) + " to " + std::to_string(first_position + time - 1));
    return detail::rotary(x, table, pairs, RotaryPositions{.first = first_position}, {});
}

/// The same for positions of any order, [time] or [batch, time]: of packed documents, or of a padded batch.
/// Throws ShapeError where their shape differs, Error where one is not in the table.
template <Argument A, class C, class Device, class S>
    requires(rotary_fits(ShapeOfArgument<A>::codes) &&
             rotary_positions_fit(ShapeOfArgument<A>::codes, S::codes))
auto rotary(A&& argument, const RotaryTable<C, Device>& table, RotaryPairs pairs,
            const Tensor<int, S, Device>& positions) {
    const auto x = evaluate(std::forward<A>(argument));
    if (!rotary_positions_fit(x.extents(), positions.extents()))
        throw_mismatch<mismatch::rotary_positions_differ>(x.extents(), positions.extents());
    const int batch_stride = S::rank == 1 ? 0 : x.extents()[1];
    return detail::rotary(x, table, pairs,
                          RotaryPositions{.each = positions.data(), .batch_stride = batch_stride},
                          positions.storage());
}
template <Argument A, class C, class Device, class S>
    requires(rotary_fits(ShapeOfArgument<A>::codes) &&
             !rotary_positions_fit(ShapeOfArgument<A>::codes, S::codes))
mismatch::rotary_positions_differ<ShapeOfArgument<A>, S> rotary(A&&, const RotaryTable<C, Device>&,
                                                                RotaryPairs, const Tensor<int, S, Device>&);
template <Argument A, class C, class Device>
    requires(!rotary_fits(ShapeOfArgument<A>::codes))
mismatch::rotary_needs_an_even_width<ShapeOfArgument<A>, RotaryTable<C, Device>> rotary(
    A&&, const RotaryTable<C, Device>&, RotaryPairs, int = 0);
template <class A, class C, class Device>
    requires NamedExpression<A> NamedExpressionError<Rotary, A> rotary(A&&, const RotaryTable<C, Device>&,
                                                                       RotaryPairs, int = 0);
template <class A, class C, class Device, class S>
    requires NamedExpression<A> NamedExpressionError<Rotary, A> rotary(A&&, const RotaryTable<C, Device>&,
                                                                       RotaryPairs,
                                                                       const Tensor<int, S, Device>&);

}  // namespace tenon
