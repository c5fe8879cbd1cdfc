#pragma once

#include <concepts>
#include <cstdint>

#include <tenon/op/softmax/rows.hpp>
#include <tenon/op/softmax/softmax.hpp>

namespace tenon {

template <>
struct Kernel<Softmax, Cpu> {
    /// y is packed, and overwritten.
    template <class T>
    static void forward(const ArrayView<T>& x, T* y) {
        using C = ComputeOf<T>;
        using V = Packet<C>;
        const std::int64_t length = x.extents[x.extents.rank - 1];
        kernel::for_each_row<C>(x, [=](const C* row, std::int64_t number, C* buffer) {
            T* to = y + number * length;
            C* powers = buffer;
            if constexpr (std::same_as<C, T>) powers = to;
            const C total =
                kernel::row_exponential_sum<true>(row, length, kernel::row_maximum(row, length), powers);
            kernel::write_row<C>(length, to, false, [=](std::int64_t at, int lanes) {
                return V(1 / total) * V::load_partial(powers + at, lanes);
            });
        });
    }

    /// gradient (+)= y (upstream - sum of y upstream), by rows. All are packed.
    template <class T, class C>
    static void backward(const ArrayView<T>& y, const C* upstream, const Contribution<C>& gradient) {
        using V = Packet<C>;
        const std::int64_t length = y.extents[y.extents.rank - 1];
        kernel::for_each_row<C>(y, [&](const C* row, std::int64_t number, C*) {
            const C* from = upstream + number * length;
            const C product = kernel::row_sum<C>(length, [=](std::int64_t at, int lanes) {
                return V::load_partial(row + at, lanes) * V::load_partial(from + at, lanes);
            });
            kernel::write_row<C>(length, gradient.data + number * length, gradient.accumulate,
                                 [=](std::int64_t at, int lanes) {
                                     return V::load_partial(row + at, lanes) *
                                            (V::load_partial(from + at, lanes) - V(product));
                                 });
        });
    }
};

}  // namespace tenon
