#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>

#include <tenon/core/layout.hpp>
#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/computed.hpp>
#include <tenon/op/softmax/row_cpu.hpp>

/// Loops over the rows of a view along its last axis, for operations that visit a row more than once.
namespace tenon::kernel {

/// Rows whose elements lie side by side, as those of a transposed matrix, are read together: as many as fill
/// a line of the cache.
inline constexpr int gathered_rows = 16;

/// Calls body(row, number, buffer) for each row, on several threads. The row is dense and of the type of
/// computation: where it lies, or a copy in `buffer`, which has room for one in any case.
template <class C, class T, class Body>
void for_each_row(const ArrayView<T>& x, const Body& body) {
    const int last_axis = x.extents.rank - 1;
    const std::int64_t length = x.extents[last_axis], step = x.strides[last_axis];
    // The neighbouring axis' length, where rows lie side by side along it.
    const std::int64_t neighbours =
        step != 1 && last_axis > 0 && x.strides[last_axis - 1] == 1 ? x.extents[last_axis - 1] : 1;
    const std::int64_t pitch = length + gathered_rows;  // no power of two, which would crowd the cache
    parallel_for(
        x.extents.count(0, last_axis), 1 + 16384 / (length + 1), [&](std::int64_t first, std::int64_t last) {
            Workspace workspace;
            C* buffer =
                workspace.take<C>(static_cast<std::size_t>(neighbours > 1 ? gathered_rows * pitch : length));
            for (std::int64_t number = first, count; number < last; number += count) {
                count =
                    std::min({std::int64_t{gathered_rows}, last - number, neighbours - number % neighbours});
                const T* from = x.data;
                std::int64_t rest = number;
                for (int axis = last_axis - 1; axis >= 0; --axis) {
                    from += rest % x.extents[axis] * x.strides[axis];
                    rest /= x.extents[axis];
                }
                if (step == 1) {
                    body(computed(from, length, buffer), number, buffer);
                    continue;
                }
                for (std::int64_t i = 0; i < length; ++i)
                    for (std::int64_t row = 0; row < count; ++row)
                        buffer[row * pitch + i] = load_as<C>(from + i * step + row);
                for (std::int64_t row = 0; row < count; ++row)
                    body(buffer + row * pitch, number + row, buffer + row * pitch);
            }
        });
}

/// Sums over long rows go on in f64 after so many elements, so that sums of f32 do not stop growing.
inline constexpr std::int64_t sum_block = 4096;

/// The sum of value(at, lanes) over packets of a row; lanes past the row's end are zero.
template <class C, class Value>
C row_sum(std::int64_t length, const Value& value) {
    using V = Packet<C>;
    double total = 0;
    for (std::int64_t begin = 0; begin < length; begin += sum_block) {
        const std::int64_t end = std::min(begin + sum_block, length);
        V sum(C(0));
        std::int64_t at = begin;
        for (; at + V::size <= end; at += V::size) sum += value(at, V::size);
        if (at < end) sum += value(at, static_cast<int>(end - at));
        total += static_cast<double>(sum.sum());
    }
    return static_cast<C>(total);
}

/// The sum of exp(row[i] - shift). With `writes` these go to out, which may be the row itself.
template <bool writes, class C>
C row_exponential_sum(const C* row, std::int64_t length, C shift, C* out) {
    double total = 0;
    for (std::int64_t begin = 0; begin < length; begin += sum_block)
        total += static_cast<double>(row_exponentials<writes>(
            row + begin, std::min(sum_block, length - begin), shift, writes ? out + begin : out));
    return static_cast<C>(total);
}

/// to[i] (+)= value(at, lanes), packet by packet.
template <class C, class T, class Value>
void write_row(std::int64_t length, T* to, bool accumulate, const Value& value) {
    using V = Packet<C>;
    std::int64_t at = 0;
    for (; at + V::size <= length; at += V::size) {
        const V now = value(at, V::size);
        store_as(accumulate ? load_as<V>(to + at) + now : now, to + at);
    }
    if (const int rest = static_cast<int>(length - at); rest > 0) {
        C lanes[V::size];
        value(at, rest).store(lanes);
        for (int lane = 0; lane < rest; ++lane)
            store_as(accumulate ? load_as<C>(to + at + lane) + lanes[lane] : lanes[lane], to + at + lane);
    }
}

}  // namespace tenon::kernel
