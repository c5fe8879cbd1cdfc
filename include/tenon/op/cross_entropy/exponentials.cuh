#pragma once

#include <cstdint>

#include <tenon/cuda/reduce.cuh>
#include <tenon/cuda/tile.cuh>
#include <tenon/cuda/warpgroup_product.cuh>

/// Cross-entropy on top of a product that writes exponentials of logits, and no logits: exp(logit - shift),
/// the shift being known beforehand. It is the target's logit, which is an ordinary product of two vectors,
/// and may be far from the greatest, as exponents of bf16 reach as far as those of float.
namespace tenon::cuda {

/// A row's greatest logit may be so many octaves above its shift; further up, its product is made again.
inline constexpr float most_octaves = 64;
inline constexpr float octaves_per_nat = 1.4426950408889634f, nats_per_octave = 0.6931471805599453f;

/// What is known of rows of logits: [rows] each.
struct ShiftedRows {
    const std::int32_t* targets;  ///< -1: the position does not count
    float *target_logit, *shift;
    int rows;
};

/// The finish of the head's product [rows, width] x [vocabulary, width]: exponentials, 0 at the target and in
/// rows that do not count, and for each row the sum of each tile's.
struct Exponentials {
    static constexpr int lead = 3;
    static constexpr FactorOrder left_order = FactorOrder::by_row, right_order = FactorOrder::by_row;

    CUtensorMap to;  ///< boxes of 16 rows
    bool are_wanted;
    ShiftedRows of;
    int vocabulary, depth;
    TileOrder order;
    /// [tiles across, padded_rows]: the sums, or the negative of the greatest logit's octaves above the
    /// shift, if those are too many.
    float* sums;
    int padded_rows;
    const int*
        again;  ///< null: all tiles; else whether there are any to make again, and then for each tile down

    __device__ bool is_needed() const { return !again || *again; }
    __device__ int count() const { return order.count(); }
    struct Search {};
    __device__ Search search() const { return {}; }
    __device__ bool find(int number, ProductTile& tile, Search) const {
        tile = order.at(number, depth);
        return !again || again[1 + tile.row / WarpgroupTiling::rows];
    }

    /// Of a lane's two rows: what is subtracted, in octaves, the target's column in the tile and how many
    /// columns count.
    struct Rows {
        float shift[2];
        int target[2], columns[2];
    };
    __device__ Rows prepare(const ProductTile& tile, int row) const {
        Rows rows;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int own = own_row(row) + 8 * i, target = own < of.rows ? of.targets[own] : -1;
            rows.shift[i] = target >= 0 ? of.shift[own] * octaves_per_nat : 0.0f;
            rows.target[i] = target - tile.column;
            rows.columns[i] = target >= 0 ? vocabulary - tile.column : 0;
        }
        return rows;
    }

    __device__ __forceinline__ void finish(WarpgroupSums<WarpgroupTiling::columns>& logits, const Rows& rows,
                                           const ProductTile& tile, int row, std::uint32_t shared) const {
        constexpr int columns = WarpgroupTiling::columns, box = 64;
        constexpr float infinity = __builtin_huge_valf();
        const int lane = static_cast<int>(threadIdx.x) % warp_size, first_column = lane % 4 * 2;
        const auto leaves_out = [&](int i) {
            return rows.columns[i] < columns || static_cast<unsigned>(rows.target[i]) < columns;
        };
        if (__any_sync(0xffffffffu, leaves_out(0) || leaves_out(1))) {
#pragma unroll
            for (int j = 0; j < columns / 8; ++j)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int column = 8 * j + first_column + i % 2;
                    if (column >= rows.columns[i / 2] || column == rows.target[i / 2])
                        logits.of[j][i] = -infinity;
                }
        }
        float greatest[2] = {-infinity, -infinity}, total[2] = {};
        using Box = SharedTile<bf16, 16, box>;
#pragma unroll
        for (int part = 0; part < columns / box; ++part) {
            const Box own{shared + part % 2 * Box::bytes};
            const BlockReader<Box, false, false> place(own);
            if (are_wanted) {
                wait_stores_read<1>();
                __syncwarp();
            }
#pragma unroll
            for (int j = 0; j < box / 16; ++j) {
                std::uint32_t pairs[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const float(&four)[4] = logits.of[part * box / 8 + 2 * j + i / 2];
                    const float x = octaves(four[i % 2 * 2], rows.shift[i % 2]),
                                y = octaves(four[i % 2 * 2 + 1], rows.shift[i % 2]);
                    greatest[i % 2] = fmaxf(greatest[i % 2], fmaxf(x, y));
                    const float power = power_of_two(x), other = power_of_two(y);
                    total[i % 2] += power + other;
                    pairs[i] = rounded_pair<bf16>(power, other);
                }
                if (are_wanted) store_matrices(place.at(0, j), pairs);
            }
            if (are_wanted) {
                show_to_engine();
                __syncwarp();
                if (lane == 0) store_box(own.address, to, warp_row(row), tile.column + part * box);
            }
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
            for (int distance = 1; distance < 4; distance *= 2) {
                greatest[i] = fmaxf(greatest[i], __shfl_xor_sync(0xffffffffu, greatest[i], distance));
                total[i] += __shfl_xor_sync(0xffffffffu, total[i], distance);
            }
            if (lane % 4 == 0)
                sums[static_cast<std::int64_t>(tile.column / columns) * padded_rows + own_row(row) + 8 * i] =
                    greatest[i] > most_octaves ? -greatest[i] : total[i];
        }
    }

private:
    __device__ static float octaves(float logit, float shift) { return fmaf(logit, octaves_per_nat, -shift); }
    __device__ static int warp_row(int row) {
        return row + static_cast<int>(threadIdx.x) / warp_size % 4 * 16;
    }
    __device__ static int own_row(int row) {
        return warp_row(row) + static_cast<int>(threadIdx.x) % warp_size / 4;
    }
};

}  // namespace tenon::cuda
