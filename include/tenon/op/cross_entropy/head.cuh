#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <tenon/core/storage.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/pack.cuh>
#include <tenon/op/cross_entropy/exponentials.cuh>
#include <tenon/op/cross_entropy/targets.hpp>

namespace tenon::cuda {

/// What is known of rows before their sums are whole, and what becomes of them: the loss, the factor of a row
/// of exponentials in the gradient of the mean loss, the exponentials' number at the target, and the hidden
/// states times that factor. With e the exponentials, S their sum without the target's and Z with it, the
/// gradient of a row of logits is e / Z, and at the target -S / Z, which no difference makes inexact.
template <class T>
struct HeadRows {
    ShiftedRows of;
    const float* sums;  // [tiles, padded_rows]
    int tiles, padded_rows;
    int* again;  // whether tiles are to be made again, and then for each tile down
    const std::int64_t* counted;
    std::int64_t vocabulary, width;
    const T *hidden, *head;
    T* exponentials;   // [rows, vocabulary]; null: no gradient is wanted
    T* scaled_hidden;  // [rows, width]; null: not wanted
    float *losses, *factors;

    __device__ int flags() const { return 1 + padded_rows / WarpgroupTiling::rows; }
};

/// Writes each target's logit, which is its row's shift at first, and that no tile is to be made again. A
/// warp for each row.
template <class T>
__global__ void __launch_bounds__(256) shift_rows(const __grid_constant__ HeadRows<T> rows) {
    constexpr int N = 16 / sizeof(T);
    const int row = static_cast<int>((blockIdx.x * 256 + threadIdx.x) / warp_size),
              lane = static_cast<int>(threadIdx.x) % warp_size;
    if (blockIdx.x == 0)
        for (int i = static_cast<int>(threadIdx.x); i < rows.flags(); i += 256) rows.again[i] = 0;
    if (row >= rows.of.rows) return;
    const int target = rows.of.targets[row];
    float logit = 0;
    if (target >= 0)
        for (std::int64_t at = lane * N; at < rows.width; at += warp_size * N) {
            float a[N], b[N];
            load(rows.hidden + row * rows.width + at, a);
            load(rows.head + target * rows.width + at, b);
#pragma unroll
            for (int i = 0; i < N; ++i) logit = fmaf(a[i], b[i], logit);
        }
    logit = reduce_warp(logit, Sum());
    if (lane > 0) return;
    rows.of.target_logit[row] = logit;
    rows.of.shift[row] = fabsf(logit) < __builtin_huge_valf() ? logit : 0.0f;
}

/// Blocks of 32 rows and eight warps: combines what tiles have of each row, in a fixed order. Each warp gets
/// it, a lane for each row.
template <class T, class Part, class Combine>
__device__ __forceinline__ float combine_tiles(const HeadRows<T>& rows, const Part& part_of,
                                               const Combine& combine) {
    constexpr int warps = 8;
    __shared__ float scratch[warps][warp_size];
    const int lane = static_cast<int>(threadIdx.x) % warp_size,
              warp = static_cast<int>(threadIdx.x) / warp_size;
    const float* const column = rows.sums + blockIdx.x * warp_size + lane;
    float own = 0;
#pragma unroll 8
    for (int tile = warp; tile < rows.tiles; tile += warps)
        own = combine(own, part_of(column[static_cast<std::int64_t>(tile) * rows.padded_rows]));
    scratch[warp][lane] = own;
    __syncthreads();
    float all = scratch[0][lane];
#pragma unroll
    for (int i = 1; i < warps; ++i) all = combine(all, scratch[i][lane]);
    return all;
}

/// Moves the shift of rows whose greatest logit is too far above it to that, and says that their tiles are to
/// be made again.
template <class T>
__global__ void __launch_bounds__(256) move_shifts(const __grid_constant__ HeadRows<T> rows) {
    const float octaves = combine_tiles(
        rows, [](float sum) { return -sum; }, Maximum());
    const int row = static_cast<int>(blockIdx.x * warp_size + threadIdx.x);
    if (threadIdx.x >= warp_size || row >= rows.of.rows || !(octaves > 0)) return;
    rows.of.shift[row] += octaves * nats_per_octave;
    rows.again[0] = rows.again[1 + row / WarpgroupTiling::rows] = 1;
}

/// What becomes of rows. Blocks of 32.
template <class T>
__global__ void __launch_bounds__(256) finish_rows(const __grid_constant__ HeadRows<T> rows) {
    constexpr int N = 16 / sizeof(T), warps = 8;
    const float others = combine_tiles(
        rows, [](float sum) { return sum; }, Sum());
    const int lane = static_cast<int>(threadIdx.x) % warp_size,
              warp = static_cast<int>(threadIdx.x) / warp_size;
    const int first = static_cast<int>(blockIdx.x) * warp_size, row = first + lane;
    float factor = 0;
    if (row < rows.of.rows) {
        const int target = rows.of.targets[row];
        float loss = 0;
        if (target >= 0) {
            const float logit = rows.of.target_logit[row], shift = rows.of.shift[row];
            const float whole = others + expf(logit - shift);
            loss = logit == shift ? log1pf(others) : logf(whole) + (shift - logit);
            factor = 1.0f / static_cast<float>(*rows.counted) / whole;
            if (warp == 0 && rows.exponentials)
                rows.exponentials[row * rows.vocabulary + target] = rounded<T>(-others);
        }
        if (warp == 0) {
            rows.losses[row] = loss;
            rows.factors[row] = factor;
        }
    }
    if (!rows.scaled_hidden) return;
    const int left = rows.of.rows - first, end = left < warp_size ? left : warp_size;
    for (int i = warp; i < end; i += warps) {
        const float own = __shfl_sync(0xffffffffu, factor, i);
        const std::int64_t begin = (first + i) * rows.width;
#pragma unroll 4
        for (std::int64_t at = begin + lane * N; at < begin + rows.width; at += warp_size * N) {
            float x[N];
            load(rows.hidden + at, x);
#pragma unroll
            for (int k = 0; k < N; ++k) x[k] = own == 0.0f ? 0.0f : x[k] * own;
            store(x, rows.scaled_hidden + at);
        }
    }
}

/// Multiplies the rows of a packed matrix by factors, of which 0 makes 0 of anything. A warp for each row.
template <class G>
__global__ void __launch_bounds__(256)
    scale_rows(G* matrix, int rows, std::int64_t width, const float* factors) {
    constexpr int N = 16 / sizeof(G);
    const int row = static_cast<int>((blockIdx.x * 256 + threadIdx.x) / warp_size);
    if (row >= rows) return;
    const float factor = factors[row];
    G* const from = matrix + row * width;
#pragma unroll 4
    for (std::int64_t at = threadIdx.x % warp_size * N; at < width; at += warp_size * N) {
        float x[N];
        load(from + at, x);
#pragma unroll
        for (int i = 0; i < N; ++i) x[i] = factor == 0.0f ? 0.0f : x[i] * factor;
        store(x, from + at);
    }
}

/// Cross-entropy of hidden states and head on GPUs of sm_90a, in bf16, chunk by chunk of positions: a product
/// that writes exponentials instead of logits, so that none are read again.
template <class T>
class HeadExponentials {
public:
    /// Whether it is for such matrices and options. Small ones would not fill its tiles.
    static bool fits(const T* hidden, std::int64_t rows, const T* head, std::int64_t vocabulary,
                     std::int64_t width, const CrossEntropyOptions& options) {
        return options.label_smoothing == 0 && options.z_loss == 0 && rows >= 64 && vocabulary >= 256 &&
               width >= 64 && vocabulary % 8 == 0 && width % 8 == 0 && is_aligned<8>(hidden) &&
               is_aligned<8>(head) && can_multiply_tiles<Exponentials>();
    }

    HeadExponentials(const T* head, std::int64_t vocabulary, std::int64_t width, std::int64_t chunk)
        : head_(head),
          vocabulary_(vocabulary),
          width_(width),
          memory_(Memory<Cuda>::allocate(static_cast<std::size_t>(4 * padded(chunk)) * sizeof(float))) {}

    /// Writes the losses of rows of hidden states and, unless null, their exponentials [count, vocabulary]
    /// and hidden states [count, width], from which gradients of the mean loss come: that of the head is the
    /// product of both, that of the hidden states is what `scale` makes of the exponentials' product with the
    /// head.
    void run(const T* hidden, const std::int32_t* targets, const std::int64_t* counted, std::int64_t count,
             float* losses, T* exponentials, T* scaled_hidden) {
        const std::int64_t padded_rows = padded(count);
        auto* const known = static_cast<float*>(memory_.data());
        const TileOrder order{
            static_cast<int>(padded_rows / WarpgroupTiling::rows),
            static_cast<int>((vocabulary_ + WarpgroupTiling::columns - 1) / WarpgroupTiling::columns),
            static_cast<int>(
                std::max<std::int64_t>(1, together_bytes / (WarpgroupTiling::rows * 2 * width_)))};
        const Storage sums(
            Memory<Cuda>::allocate(static_cast<std::size_t>(padded_rows * order.across) * sizeof(float)));
        const ShiftedRows of{targets, known, known + padded_rows, static_cast<int>(count)};
        factors_ = known + 2 * padded_rows;
        auto* const again = reinterpret_cast<int*>(known + 3 * padded_rows);
        auto* const parts = static_cast<float*>(sums.data());
        const HeadRows<T> rows{of,     parts,   order.across, static_cast<int>(padded_rows),
                               again,  counted, vocabulary_,  width_,
                               hidden, head_,   exponentials, scaled_hidden,
                               losses, factors_};
        const unsigned blocks = blocks_for(count, warp_size, INT32_MAX);
        launch(shift_rows<T>, {blocks_for(count, 8, INT32_MAX), 256}, rows);
        const ProductFactors<Exponentials> factors(hidden, count, width_, head_, vocabulary_, width_);
        Exponentials work{{},
                          exponentials != nullptr,
                          of,
                          static_cast<int>(vocabulary_),
                          static_cast<int>(width_),
                          order,
                          parts,
                          static_cast<int>(padded_rows),
                          nullptr};
        if (exponentials) work.to = tensor_map(exponentials, count, vocabulary_, vocabulary_, 16);
        multiply_in_tiles(factors, work, order.count());
        launch(move_shifts<T>, {blocks, 256}, rows);
        work.again = again;
        multiply_in_tiles(factors, work, order.count());
        launch(finish_rows<T>, {blocks, 256}, rows);
    }

    /// Makes the gradient of hidden states of the last rows' product with the head.
    template <class G>
    void scale(G* product, std::int64_t count) const {
        launch(scale_rows<G>, {blocks_for(count, 8, INT32_MAX), 256}, product, static_cast<int>(count),
               width_, factors_);
    }

private:
    /// About the bytes of hidden states whose tiles are at work at one time.
    static constexpr std::int64_t together_bytes = std::int64_t{13} << 20;

    static std::int64_t padded(std::int64_t rows) {
        return (rows + WarpgroupTiling::rows - 1) / WarpgroupTiling::rows * WarpgroupTiling::rows;
    }

    const T* head_;
    std::int64_t vocabulary_, width_;
    Storage memory_;
    float* factors_ = nullptr;
};

}  // namespace tenon::cuda
