#pragma once

#include <cstdint>

#include <tenon/core/storage.hpp>
#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/op/view/cuda.cuh>

/// Rows along the last axis that are visited more than once, each by one block.
namespace tenon::cuda {

/// Packs that a thread keeps from visit to visit; those of longer rows are read again.
inline constexpr int kept_packs = 4;
/// The most threads of a block that visits so many arrays: the rows of what runs at once fit into the first
/// cache.
template <int rows>
inline constexpr int most_row_threads = 512 * rows;

/// The elements of several dense rows that are a thread's part, as packs of N.
template <int N, int rows, class T>
class RowPart {
public:
    __device__ RowPart(const T* const (&row)[rows], std::int64_t length) : packs_(length / N) {
#pragma unroll
        for (int i = 0; i < rows; ++i) row_[i] = row[i];
#pragma unroll
        for (int k = 0; k < kept; ++k)
            if (const std::int64_t pack = threadIdx.x + std::int64_t{k} * blockDim.x; pack < packs_)
#pragma unroll
                for (int i = 0; i < rows; ++i) kept_[k][i] = read(i, pack);
    }

    /// Calls body(at, values) for each pack, of elements from `at` on: values[i], N numbers of row i.
    template <class C, class Body>
    __device__ __forceinline__ void visit(const Body& body) const {
        std::int64_t pack = threadIdx.x;
#pragma unroll
        for (int k = 0; k < kept; ++k, pack += blockDim.x)
            if (pack < packs_) give<C>(pack, kept_[k], body);
        for (; pack < packs_; pack += blockDim.x) {
            P packs[rows];
#pragma unroll
            for (int i = 0; i < rows; ++i) packs[i] = read(i, pack);
            give<C>(pack, packs, body);
        }
    }

private:
    using P = Pack<T, N>;
    static constexpr int kept = kept_packs / rows;

    __device__ P read(int i, std::int64_t pack) const { return reinterpret_cast<const P*>(row_[i])[pack]; }

    template <class C, class Body>
    __device__ __forceinline__ static void give(std::int64_t pack, const P (&packs)[rows], const Body& body) {
        C values[rows][N];
#pragma unroll
        for (int i = 0; i < rows; ++i)
#pragma unroll
            for (int j = 0; j < N; ++j) values[i][j] = convert<C>(packs[i].element[j]);
        body(pack * N, values);
    }

    const T* row_[rows];
    std::int64_t packs_;
    P kept_[kept][rows];
};

/// The greatest of a row, NaN if one is; -infinity of none.
struct RowMaximum {
    template <class C>
    __device__ C operator()(C a, C b) const {
        return max(a, b);
    }
};

/// y = O::value(x, greatest, total), total: the sum of exp(x - greatest).
template <class O, int N, class T>
__global__ void __launch_bounds__(most_row_threads<1>, 2)
    rows_forward(const T* x, const __grid_constant__ IndexSpace<1> rows, std::int64_t length, T* y) {
    using C = ComputeOf<T>;
    __shared__ C scratch[warp_size];
    const std::int64_t row = blockIdx.x;
    const RowPart<N, 1, T> part({x + rows.offsets(row).in[0]}, length);
    C greatest = C(-__builtin_huge_val());
    part.template visit<C>([&](std::int64_t, const C(&values)[1][N]) {
#pragma unroll
        for (int i = 0; i < N; ++i) greatest = max(greatest, values[0][i]);
    });
    greatest = reduce_block(greatest, RowMaximum(), scratch);
    C total = 0;
    part.template visit<C>([&](std::int64_t, const C(&values)[1][N]) {
#pragma unroll
        for (int i = 0; i < N; ++i) total += exp(values[0][i] - greatest);
    });
    total = O::finish(reduce_block(total, Sum(), scratch));
    part.template visit<C>([&](std::int64_t at, const C(&values)[1][N]) {
        C result[N];
#pragma unroll
        for (int i = 0; i < N; ++i) result[i] = O::value(values[0][i], greatest, total);
        store(result, y + row * length + at);
    });
}

/// gradient (+)= O::gradient(y, upstream, total), total: the sum of O::term(y, upstream). All are packed.
template <class O, int N, class T>
__global__ void __launch_bounds__(most_row_threads<2>)
    rows_backward(const T* y, const T* upstream, std::int64_t length, const Contribution<T> gradient) {
    using C = ComputeOf<T>;
    __shared__ C scratch[warp_size];
    const std::int64_t begin = blockIdx.x * length;
    const RowPart<N, 2, T> part({y + begin, upstream + begin}, length);
    C total = 0;
    part.template visit<C>([&](std::int64_t, const C(&values)[2][N]) {
#pragma unroll
        for (int i = 0; i < N; ++i) total += O::term(values[0][i], values[1][i]);
    });
    total = reduce_block(total, Sum(), scratch);
    part.template visit<C>([&](std::int64_t at, const C(&values)[2][N]) {
        C result[N];
#pragma unroll
        for (int i = 0; i < N; ++i) result[i] = O::gradient(values[0][i], values[1][i], total);
        contribute(gradient, begin + at, result);
    });
}

/// The block for rows of so many packs.
template <int rows>
unsigned row_threads(std::int64_t packs) {
    unsigned threads = warp_size;
    while (threads < most_row_threads<rows> && std::int64_t{threads} * (kept_packs / rows) < packs)
        threads *= 2;
    return threads;
}

/// The kernels of an operation on rows, from its functions of numbers.
template <class O>
struct RowsKernel {
    /// y is packed, and overwritten.
    template <class T>
    static void forward(const ArrayView<T>& x, T* y) {
        const int last = x.extents.rank - 1;
        const std::int64_t length = x.extents[last];
        if (x.extents.count() == 0) return;
        if (length > 1 && x.strides[last] != 1) {  // first a copy that is dense, then in place
            const Strides packed = row_major_strides(x.extents);
            Kernel<View, Cuda>::copy(x, ArrayView<T>{y, x.extents, packed});
            return forward(ArrayView<T>{y, x.extents, packed}, y);
        }
        constexpr int n = 16 / sizeof(T);
        IndexSpace<1> rows;
        bool in_packs = length % n == 0 && is_aligned<n>(x.data);
        for (int axis = 0; axis < last; ++axis) {
            rows.append(x.extents[axis], x.strides[axis]);
            in_packs = in_packs && (x.extents[axis] == 1 || x.strides[axis] % n == 0);
        }
        launch(
            in_packs ? rows_forward<O, n, T> : rows_forward<O, 1, T>,
            {static_cast<unsigned>(x.extents.count(0, last)), row_threads<1>(in_packs ? length / n : length)},
            x.data, rows, length, y);
    }

    /// All are packed.
    template <class T>
    static void backward(const ArrayView<T>& y, const T* upstream, const Contribution<T>& gradient) {
        constexpr int n = 16 / sizeof(T);
        const int last = y.extents.rank - 1;
        const std::int64_t length = y.extents[last];
        if (y.extents.count() == 0) return;
        const bool in_packs = length % n == 0;
        launch(
            in_packs ? rows_backward<O, n, T> : rows_backward<O, 1, T>,
            {static_cast<unsigned>(y.extents.count(0, last)), row_threads<2>(in_packs ? length / n : length)},
            y.data, upstream, length, gradient);
    }
};

}  // namespace tenon::cuda
