#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/autograd/cuda.cuh>
#include <tenon/cuda/reduce_axes.cuh>
#include <tenon/op/view/view.hpp>

namespace tenon {
namespace cuda {

/// So many bytes that move together, whatever they mean: kernels that only copy share their code.
template <int bytes>
struct alignas(bytes) Unit {
    unsigned char byte[bytes];
};

template <int bytes>
__global__ void copy_units(const Unit<bytes>* from, Unit<bytes>* to,
                           const __grid_constant__ IndexSpace<2> space, std::int64_t count) {
    const std::int64_t number = thread_number();
    if (number >= count) return;
    const auto at = space.offsets(number);
    to[at.in[1]] = from[at.in[0]];
}

/// Adds N neighbouring elements a thread into a gradient, in which others lie where `places` says.
template <int N, class G>
__global__ void add_packs(const G* from, const __grid_constant__ IndexSpace<1> places, std::int64_t offset,
                          std::int64_t packs, Contribution<G> to) {
    const std::int64_t number = thread_number();
    if (number >= packs) return;
    ComputeOf<G> values[N];
    load(from + number * N, values);
    contribute(to, offset + places.offsets(number).in[0], values);
}

/// The squares that a transposing copy goes by: so wide that enough is read at once.
template <int bytes>
struct CopySquare {
    static constexpr int width = bytes <= 4 ? 64 : 32, threads = 256, step = threads / width;

    TENON_HOST_DEVICE static constexpr unsigned along(int length) {
        return static_cast<unsigned>((length + width - 1) / width);
    }
};

/// Copies where the source's neighbours lie along one axis, `rows`, and the target's along another,
/// `columns`: by squares, each read along one and written along the other. `space` has all other axes.
template <int bytes>
__global__ void copy_transposed(const Unit<bytes>* from, Unit<bytes>* to, int rows, int columns,
                                std::int64_t from_column, std::int64_t to_row,
                                const __grid_constant__ IndexSpace<2> space) {
    using S = CopySquare<bytes>;
    __shared__ Unit<bytes> square[S::width][S::width + 1];
    const unsigned across = S::along(columns), squares = S::along(rows) * across,
                   number = blockIdx.x % squares;
    const auto start = space.offsets(blockIdx.x / squares);
    const int row = static_cast<int>(number / across) * S::width,
              column = static_cast<int>(number % across) * S::width;
    const int x = static_cast<int>(threadIdx.x), first = static_cast<int>(threadIdx.y);
#pragma unroll
    for (int y = 0; y < S::width; y += S::step)
        if (row + x < rows && column + first + y < columns)
            square[first + y][x] = from[start.in[0] + (column + first + y) * from_column + row + x];
    __syncthreads();
#pragma unroll
    for (int y = 0; y < S::width; y += S::step)
        if (row + first + y < rows && column + x < columns)
            to[start.in[1] + (row + first + y) * to_row + column + x] = square[x][first + y];
}

}  // namespace cuda

template <>
struct Kernel<View, Cuda> {
    /// Adds a packed array into a gradient of `count` elements through strides, from `offset` on; where these
    /// are 0, elements add up in an order that the extents alone decide.
    template <class G>
    static void add(const G* from, const Extents& extents, const Strides& strides, std::int64_t offset,
                    std::int64_t count, Contribution<G> to) {
        using C = ComputeOf<G>;
        // The axes that are kept, in the order of their places in the gradient; then the others.
        int order[max_rank] = {};
        for (int axis = 0; axis < extents.rank; ++axis) order[axis] = axis;
        const auto place = [&](int axis) { return extents[axis] == 1 ? std::int64_t{0} : strides[axis]; };
        std::stable_sort(order, order + extents.rank, [&](int a, int b) { return place(a) > place(b); });
        const Strides packed = row_major_strides(extents);
        cuda::AxesReduction<reduction::Sum, C, 1, cuda::ReadElements<C, G>, cuda::ContributeReduced<C, G>>
            sum{.results = 1, .length = 1, .read = {from}, .finish = {.offset = offset}};
        for (int i = 0; i < extents.rank; ++i) {
            const int axis = order[i];
            const bool is_kept = place(axis) > 0;
            (is_kept ? sum.kept : sum.reduced).append(extents[axis], packed[axis]);
            if (is_kept) sum.finish.places.append(extents[axis], strides[axis]);
            (is_kept ? sum.results : sum.length) *= extents[axis];
        }
        if (!to.accumulate && sum.results < count) {
            if (to.wide)
                Memory<Cuda>::fill(to.wide, count, C(0));
            else
                Memory<Cuda>::fill(to.data, count, G(0.0f));
        }
        if (sum.results == 0) return;
        if (!to.accumulate && !to.wide && sum.length == 1)
            return copy(ArrayView<const G>{from, extents, packed},
                        ArrayView<G>{to.data + offset, extents, strides});
        if (sum.length == 1) return add_in_packs(from, extents, strides, offset, to);
        sum.finish.to = to;
        cuda::reduce_axes(sum);
    }

    /// Copies elements from one place to another of the same extents.
    template <class From, class T>
    static void copy(const ArrayView<From>& from, const ArrayView<T>& to) {
        static_assert(std::same_as<std::remove_const_t<From>, T>);
        copy_bytes(from.data, from.strides, to.data, to.strides, from.extents, sizeof(T));
    }

private:
    /// The same where nothing adds up but what is there.
    template <class G>
    static void add_in_packs(const G* from, const Extents& extents, const Strides& strides,
                             std::int64_t offset, const Contribution<G>& to) {
        constexpr int n = 16 / sizeof(G);
        const int last = extents.rank - 1;
        std::int64_t steps = last >= 0 && strides[last] == 1 ? offset | extents[last] : 1;
        for (int axis = 0; axis < last; ++axis)
            if (extents[axis] != 1) steps |= strides[axis];
        const bool has_packs = steps % n == 0 && cuda::is_aligned<n>(from) &&
                               (to.wide ? cuda::is_aligned<n>(to.wide) : cuda::is_aligned<n>(to.data));
        cuda::IndexSpace<1> places;
        for (int axis = 0; axis < last; ++axis) places.append(extents[axis], strides[axis]);
        if (last >= 0 && has_packs)
            places.append(extents[last] / n, n);
        else if (last >= 0)
            places.append(extents[last], strides[last]);
        const std::int64_t packs = extents.count() / (has_packs ? n : 1);
        constexpr int threads = 256;
        cuda::launch(has_packs ? cuda::add_packs<n, G> : cuda::add_packs<1, G>,
                     {cuda::blocks_for(packs, threads, packs), threads}, from, places, offset, packs, to);
    }

    // Of any element type. Outside of the template, so that it is compiled once.
    static void copy_bytes(const void* from, const Strides& from_strides, void* to, const Strides& to_strides,
                           const Extents& extents, int bytes) {
        if (extents.count() == 0) return;
        // As many bytes together as lie side by side, and are aligned, in both.
        const int last = extents.rank - 1;
        int unit = bytes;
        if (last >= 0 && from_strides[last] == 1 && to_strides[last] == 1) {
            std::int64_t common = extents[last] * std::int64_t{bytes} |
                                  reinterpret_cast<std::intptr_t>(from) | reinterpret_cast<std::intptr_t>(to);
            for (int axis = 0; axis < last; ++axis)
                if (extents[axis] != 1) common |= (from_strides[axis] | to_strides[axis]) * bytes;
            while (unit < 16 && common % (2 * unit) == 0) unit *= 2;
        }
        const auto copy = [&](auto copy_units_of) {
            copy_units_of(from, from_strides, to, to_strides, extents, unit / bytes);
        };
        switch (unit) {
            case 1:
                return copy(copy_units<1>);
            case 2:
                return copy(copy_units<2>);
            case 4:
                return copy(copy_units<4>);
            case 8:
                return copy(copy_units<8>);
            default:
                return copy(copy_units<16>);
        }
    }

    /// By units of so many bytes, which are `elements` elements.
    template <int bytes>
    static void copy_units(const void* from_data, const Strides& from_strides, void* to_data,
                           const Strides& to_strides, const Extents& extents, int elements) {
        using Unit = cuda::Unit<bytes>;
        const auto* const from = static_cast<const Unit*>(from_data);
        auto* const to = static_cast<Unit*>(to_data);
        Extents lengths = extents;
        if (elements > 1) lengths[extents.rank - 1] /= elements;
        // The axes along which neighbours lie side by side.
        int row_axis = -1, column_axis = -1;
        Strides steps[2] = {from_strides, to_strides};
        for (int axis = 0; axis < extents.rank; ++axis) {
            for (Strides& step : steps)
                if (step[axis] != 1) step[axis] /= elements;
            if (lengths[axis] > 1 && steps[0][axis] == 1) row_axis = axis;
            if (lengths[axis] > 1 && steps[1][axis] == 1) column_axis = axis;
        }
        const bool is_transposed = row_axis >= 0 && column_axis >= 0 && row_axis != column_axis;
        cuda::IndexSpace<2> space;
        for (int axis = 0; axis < extents.rank; ++axis)
            if (!is_transposed || (axis != row_axis && axis != column_axis))
                space.append(lengths[axis], steps[0][axis], steps[1][axis]);
        const std::int64_t count = lengths.count();
        if (is_transposed) {
            const int rows = lengths[row_axis], columns = lengths[column_axis];
            const std::int64_t others = count / rows / columns;
            using Square = cuda::CopySquare<bytes>;
            cuda::launch(cuda::copy_transposed<bytes>,
                         {static_cast<unsigned>(others * Square::along(rows) * Square::along(columns)),
                          dim3(Square::width, Square::step)},
                         from, to, rows, columns, steps[0][column_axis], steps[1][row_axis], space);
        } else {
            constexpr int threads = 256;
            cuda::launch(cuda::copy_units<bytes>, {cuda::blocks_for(count, threads, count), threads}, from,
                         to, space, count);
        }
    }
};

}  // namespace tenon
