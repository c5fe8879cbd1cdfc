#pragma once

#include <concepts>
#include <cstdint>

#include <tenon/autograd/cuda.cuh>
#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/op/grouped_matmul/grouped_matmul.hpp>
#include <tenon/op/grouped_matmul/tiles.cuh>

namespace tenon {
namespace cuda {

/// The products of GroupedProduct for any type and extents, each sum in the order of its depth: for what the
/// tensor cores of sm_90a do not take, and to compare with. A block computes tiles of 64 x 64, each thread
/// 4 x 4 of them.
template <GroupedProductKind kind, class T>
__global__ void __launch_bounds__(256) multiply_groups(DeviceRowGroups groups, int in, int out, const T* rows,
                                                       const T* other, Contribution<T> result) {
    using C = ComputeOf<T>;
    constexpr int tile = DeviceRowGroups::alignment, slice = 16, own = 4, across = tile / own;
    constexpr bool is_of_weights = kind == GroupedProductKind::weights_gradient;
    __shared__ C a_tile[slice][tile + 1], b_tile[slice][tile + 1];
    groups.check();
    const int row = static_cast<int>(threadIdx.x) / across, column = static_cast<int>(threadIdx.x) % across;
    const int height = is_of_weights ? out : groups.rows(),
              width = kind == GroupedProductKind::forward ? out : in;
    const std::int64_t tiles_across = (width + tile - 1) / tile, tiles_down = (height + tile - 1) / tile,
                       each = tiles_across * tiles_down;
    for (std::int64_t number = blockIdx.x; number < (is_of_weights ? groups.count() * each : each);
         number += gridDim.x) {
        const int first_row = static_cast<int>(number / tiles_across % tiles_down) * tile,
                  first_column = static_cast<int>(number % tiles_across) * tile;
        int group = static_cast<int>(number / each), depth = 0, begin = 0;
        if constexpr (is_of_weights) {
            begin = groups.begin(group);
            depth = groups.size(group);
        } else {
            while (group < groups.count() && first_row >= groups.begin(group) + groups.size(group)) ++group;
            if (group < groups.count() && first_row >= groups.begin(group))
                depth = kind == GroupedProductKind::forward ? in : out;
        }
        const auto a_at = [&](int i, int k) -> std::int64_t {
            if constexpr (is_of_weights) return std::int64_t{begin + k} * out + i;
            return std::int64_t{i} * (kind == GroupedProductKind::forward ? in : out) + k;
        };
        const auto b_at = [&](int k, int j) -> std::int64_t {
            if constexpr (is_of_weights) return std::int64_t{begin + k} * in + j;
            if constexpr (kind == GroupedProductKind::forward)
                return (std::int64_t{group} * out + j) * in + k;
            return (std::int64_t{group} * out + k) * in + j;
        };
        C sums[own][own] = {};
        for (int first = 0; first < depth; first += slice) {
            for (int at = static_cast<int>(threadIdx.x); at < tile * slice; at += 256) {
                const int i = first_row + at / slice, k = first + at % slice;
                a_tile[at % slice][at / slice] =
                    i < height && k < depth ? convert<C>(rows[a_at(i, k)]) : C(0);
                const int j = first_column + at % tile, l = first + at / tile;
                b_tile[at / tile][at % tile] = j < width && l < depth ? convert<C>(other[b_at(l, j)]) : C(0);
            }
            __syncthreads();
#pragma unroll
            for (int k = 0; k < slice; ++k)
#pragma unroll
                for (int i = 0; i < own; ++i)
#pragma unroll
                    for (int j = 0; j < own; ++j)
                        sums[i][j] += a_tile[k][row + i * across] * b_tile[k][column + j * across];
            __syncthreads();
        }
#pragma unroll
        for (int i = 0; i < own; ++i)
#pragma unroll
            for (int j = 0; j < own; ++j) {
                const int at_row = first_row + row + i * across,
                          at_column = first_column + column + j * across;
                if (at_row >= height || at_column >= width) continue;
                const std::int64_t below = is_of_weights ? std::int64_t{group} * out : 0;
                contribute(result, (below + at_row) * width + at_column, sums[i][j]);
            }
    }
}

}  // namespace cuda

/// Each is one launch. In bf16 on sm_90a it runs on the tensor cores where in and out are multiples of 64 and
/// so many rows.
template <>
struct Kernel<GroupedMatmul, Cuda> {
    /// y [rows, out] is overwritten.
    template <class T>
    static void forward(const RowGroups& groups, int in, int out, const T* x, const T* weight, T* y) {
        run<cuda::GroupedProductKind::forward>(groups, in, out, x, weight, Contribution<T>{y, false});
    }
    template <class T>
    static void gradient_rows(const RowGroups& groups, int in, int out, const T* upstream, const T* weight,
                              const Contribution<T>& gradient) {
        run<cuda::GroupedProductKind::rows_gradient>(groups, in, out, upstream, weight, gradient);
    }
    template <class T>
    static void gradient_weight(const RowGroups& groups, int in, int out, const T* upstream, const T* x,
                                const Contribution<T>& gradient) {
        run<cuda::GroupedProductKind::weights_gradient>(groups, in, out, upstream, x, gradient);
    }

    /// Whether the tensor cores of sm_90a take these.
    template <class T>
    static bool is_tiled(const RowGroups& groups, int in, int out, const T* rows, const T* other,
                         const Contribution<T>& result) {
        if constexpr (std::same_as<T, bf16>)
            return in % 64 == 0 && out % 64 == 0 && groups.rows % 64 == 0 && in > 0 && out > 0 &&
                   cuda::is_aligned<8>(rows) && cuda::is_aligned<8>(other) &&
                   (result.wide ? cuda::is_aligned<4>(result.wide) : cuda::is_aligned<8>(result.data)) &&
                   cuda::can_multiply_tiles<cuda::GroupedProduct<cuda::GroupedProductKind::forward>>();
        else
            return false;
    }

private:
    template <cuda::GroupedProductKind kind, class T>
    static void run(const RowGroups& groups, int in, int out, const T* rows, const T* other,
                    const Contribution<T>& result) {
        if (groups.count == 0 && groups.rows == 0) return;
        const cuda::DeviceRowGroups on_device{
            groups, cuda::fault(), "grouped_matmul: expected begins that ascend, in multiples of 64, to"};
        if constexpr (std::same_as<T, bf16>)
            if (groups.rows > 0 && groups.count > 0 && is_tiled(groups, in, out, rows, other, result))
                return cuda::multiply_group_tiles<kind>(on_device, in, out, rows, other, result);
        const std::int64_t tiles = (std::int64_t{groups.rows} / 64 + out / 64 + 2) * ((in + out) / 64 + 2);
        cuda::launch(cuda::multiply_groups<kind, T>, {cuda::blocks_for(tiles, 1, 4096), 256}, on_device, in,
                     out, rows, other, result);
    }
};

}  // namespace tenon
