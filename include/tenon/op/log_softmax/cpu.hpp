#pragma once

#include <cstdint>

#include <tenon/op/log_softmax/log_softmax.hpp>
#include <tenon/op/softmax/rows.hpp>

namespace tenon {

template <>
struct Kernel<LogSoftmax, Cpu> {
    /// y is packed, and overwritten.
    template <class T>
    static void forward(const ArrayView<T>& x, T* y) {
        using C = ComputeOf<T>;
        using V = Packet<C>;
        const std::int64_t length = x.extents[x.extents.rank - 1];
        kernel::for_each_row<C>(x, [=](const C* row, std::int64_t number, C*) {
            const C greatest = kernel::row_maximum(row, length),
                    rest = log(
                        kernel::row_exponential_sum<false>(row, length, greatest, static_cast<C*>(nullptr)));
            kernel::write_row<C>(length, y + number * length, false, [=](std::int64_t at, int lanes) {
                return V::load_partial(row + at, lanes) - V(greatest) - V(rest);
            });
        });
    }

    /// gradient (+)= upstream - exp(y) sum of upstream, by rows. All are packed.
    template <class T, class C>
    static void backward(const ArrayView<T>& y, const C* upstream, const Contribution<C>& gradient) {
        using V = Packet<C>;
        const std::int64_t length = y.extents[y.extents.rank - 1];
        kernel::for_each_row<C>(y, [&](const C* row, std::int64_t number, C*) {
            const C* from = upstream + number * length;
            const C total = kernel::row_sum<C>(
                length, [=](std::int64_t at, int lanes) { return V::load_partial(from + at, lanes); });
            kernel::write_row<C>(length, gradient.data + number * length, gradient.accumulate,
                                 [=](std::int64_t at, int lanes) {
                                     return V::load_partial(from + at, lanes) -
                                            exp(V::load_partial(row + at, lanes)) * V(total);
                                 });
        });
    }
};

}  // namespace tenon
