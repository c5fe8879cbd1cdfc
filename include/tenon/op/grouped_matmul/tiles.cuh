#pragma once

#include <cstdint>

#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/tile.cuh>
#include <tenon/cuda/warpgroup_product.cuh>
#include <tenon/op/grouped_matmul/grouped_matmul.hpp>

/// Products of groups of rows with a matrix for each group, in tiles, in one launch. Of sm_90a.
namespace tenon::cuda {

/// The rows of each group, and those of none: before the first, number -1, and after the last. Begins that
/// are none are taken for others, so that nothing outside of the rows is read or written, and reported.
struct DeviceRowGroups {
    static constexpr int alignment = group_alignment<Cuda>;
    static_assert(alignment == WarpgroupTiling::warpgroup_rows, "a warpgroup has rows of one group alone");

    tenon::RowGroups groups;
    Fault* fault;
    const char* expected;

    __device__ __forceinline__ int count() const { return groups.count; }
    __device__ __forceinline__ bool has(int group) const { return group >= 0 && group < groups.count; }
    __host__ __device__ __forceinline__ int rows() const { return groups.rows; }
    __device__ __forceinline__ int begin(int group) const {
        if (group < 0) return 0;
        const int given = groups.begins[group], clamped = given < 0 ? 0 : given;
        return (clamped < groups.rows ? clamped : groups.rows) / alignment * alignment;
    }
    __device__ __forceinline__ int end(int group) const {
        return group < groups.count ? begin(group + 1) : groups.rows;
    }
    __device__ __forceinline__ int size(int group) const {
        const int difference = end(group) - begin(group);
        return difference > 0 ? difference : 0;
    }

    /// Reports the first thing that is wrong; the first block's work.
    __device__ void check() const {
        if (blockIdx.x > 0) return;
        for (int i = static_cast<int>(threadIdx.x); i <= groups.count; i += static_cast<int>(blockDim.x)) {
            const int given = groups.begins[i], last = i > 0 ? groups.begins[i - 1] : 0;
            if (given < last || given > groups.rows || given % alignment != 0)
                report_fault(fault, expected, groups.rows, given, i);
        }
    }
};

/// Which of the three products: y = x w' of each group, the gradient of x, which is dy w, or that of w, which
/// is dy' x.
enum class GroupedProductKind { forward, rows_gradient, weights_gradient };

/// For x [rows, in], w [groups, out, in] and y [rows, out], all packed, `in` and `out` multiples of 64.
template <GroupedProductKind kind>
struct GroupedProduct {
    static constexpr bool is_of_weights = kind == GroupedProductKind::weights_gradient;
    static constexpr FactorOrder left_order = is_of_weights ? FactorOrder::by_depth : FactorOrder::by_row,
                                 right_order = kind == GroupedProductKind::forward ? FactorOrder::by_row
                                                                                   : FactorOrder::by_depth;
    static constexpr int lead = 3;

    DeviceRowGroups groups;
    int in, out;
    CUtensorMap to;  ///< boxes of 16 rows, of whichever type the result has
    /// Numbers of 16 bits are added to one by one, others by the copy engine.
    Contribution<bf16> result;

    __device__ bool is_needed() const { return true; }
    /// The rows and columns that one group's result has.
    __device__ int height(int group) const { return is_of_weights ? out : groups.size(group); }
    __host__ __device__ int columns() const { return kind == GroupedProductKind::forward ? out : in; }
    __host__ __device__ int across() const { return tiles(columns(), WarpgroupTiling::columns); }
    /// At most.
    __host__ __device__ int count() const {
        return across() * (is_of_weights ? groups.groups.count * tiles(out, WarpgroupTiling::rows)
                                         : groups.rows() / WarpgroupTiling::rows + groups.groups.count + 2);
    }

    /// The group of the last number, and the number of its first tile.
    struct Search {
        int group = is_of_weights ? 0 : -1, first = 0, tiles = -1;
    };
    __device__ Search search() const {
        groups.check();
        return {};
    }
    /// The results of rows of no group are 0.
    __device__ bool find(int number, ProductTile& tile, Search& at) const {
        const int last = is_of_weights ? groups.count() - 1 : groups.count();
        while (true) {
            if (at.tiles < 0) at.tiles = across() * tiles(height(at.group), WarpgroupTiling::rows);
            if (number < at.first + at.tiles) break;
            if (at.group == last) return false;
            at.first += at.tiles;
            at.tiles = -1;
            ++at.group;
        }
        const int within = number - at.first, down = at.tiles / across();
        tile.row = within % down * WarpgroupTiling::rows;
        tile.column = within / down * WarpgroupTiling::columns;
        tile.left_depth = tile.right_depth = 0;
        tile.group = at.group;
        if constexpr (is_of_weights) {
            tile.left_depth = tile.right_depth = groups.begin(at.group);
            tile.depth = groups.size(at.group);
        } else {
            tile.row += groups.begin(at.group);
            tile.depth = groups.has(at.group) ? (kind == GroupedProductKind::forward ? in : out) : 0;
            if constexpr (kind == GroupedProductKind::forward)
                tile.column += at.group * out;
            else
                tile.right_depth = at.group * out;
        }
        return true;
    }

    struct Rows {};
    __device__ Rows prepare(const ProductTile&, int) const { return {}; }

    __device__ __forceinline__ void finish(WarpgroupSums<WarpgroupTiling::columns>& sums, Rows,
                                           const ProductTile& tile, int row, std::uint32_t shared) const {
        // Warpgroups of a tile's rows beyond the group's have nothing to say.
        if (row >= (is_of_weights ? out : groups.begin(tile.group) + groups.size(tile.group))) return;
        if (tile.depth == 0) {
#pragma unroll
            for (auto& chunk : sums.of)
#pragma unroll
                for (float& sum : chunk) sum = 0;
        }
        const int warp_row = row + static_cast<int>(threadIdx.x) / warp_size % 4 * 16 +
                             (is_of_weights ? tile.group * out : 0),
                  column = tile.column - (kind == GroupedProductKind::forward ? tile.group * out : 0);
        if (result.wide)
            store_boxes<float>(sums, warp_row, column, shared);
        else if (!result.accumulate)
            store_boxes<bf16>(sums, warp_row, column, shared);
        else
            contribute_all(sums, warp_row, column);
    }

private:
    __host__ __device__ static int tiles(int length, int each) { return (length + each - 1) / each; }

    /// By boxes of 128 bytes of a warp's rows, of which one is filled while another is copied.
    template <class T>
    __device__ __forceinline__ void store_boxes(const WarpgroupSums<WarpgroupTiling::columns>& sums, int row,
                                                int column, std::uint32_t shared) const {
        constexpr int width = 128 / sizeof(T);
        const int lane = static_cast<int>(threadIdx.x) % warp_size;
#pragma unroll
        for (int part = 0; part < WarpgroupTiling::columns / width; ++part) {
            const int first = column + part * width;
            if (first >= columns()) break;
            const std::uint32_t own = shared + part % 2 * 16 * 128;
            wait_stores_read<1>();
            __syncwarp();
            if constexpr (std::same_as<T, float>)
                write_sums(sums.of + part * width / 8, own);
            else
                write_rounded(sums.of + part * width / 8, own);
            show_to_engine();
            __syncwarp();
            if (lane > 0) continue;
            if (result.accumulate)
                add_box(own, to, row, first);
            else
                store_box(own, to, row, first);
        }
    }

    /// 16 rows of 64 sums.
    __device__ __forceinline__ static void write_rounded(const float (*from)[4], std::uint32_t to) {
        using Box = SharedTile<bf16, 16, 64>;
        const BlockReader<Box, false, false> place(Box{to});
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            std::uint32_t pairs[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float(&four)[4] = from[2 * j + i / 2];
                pairs[i] = rounded_pair<bf16>(four[i % 2 * 2], four[i % 2 * 2 + 1]);
            }
            store_matrices(place.at(0, j), pairs);
        }
    }
    /// 16 rows of 32 sums, in the same order of 16-byte chunks.
    __device__ __forceinline__ static void write_sums(const float (*from)[4], std::uint32_t to) {
        const int lane = static_cast<int>(threadIdx.x) % warp_size, row = lane / 4;
        const std::uint32_t place = to + row * 128 + lane % 2 * 8;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const std::uint32_t chunk = ((2 * j + lane % 4 / 2) ^ row) << 4;
            store_pair(place + chunk, from[j][0], from[j][1]);
            store_pair(place + chunk + 8 * 128, from[j][2], from[j][3]);
        }
    }

    __device__ __forceinline__ void contribute_all(const WarpgroupSums<WarpgroupTiling::columns>& sums,
                                                   int row, int column) const {
        const int lane = static_cast<int>(threadIdx.x) % warp_size;
#pragma unroll
        for (int j = 0; j < WarpgroupTiling::columns / 8; ++j) {
            if (column + 8 * j >= columns()) break;
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                float pair[2] = {sums.of[j][2 * i], sums.of[j][2 * i + 1]};
                contribute(result,
                           (std::int64_t{row} + lane / 4 + 8 * i) * columns() + column + 8 * j + lane % 4 * 2,
                           pair);
            }
        }
    }
};

/// Launches one of the products. `rows` is x, or for the gradient of x that of y; `other` is w, or for the
/// gradient of w x. All are aligned to 16 bytes.
template <GroupedProductKind kind>
void multiply_group_tiles(const DeviceRowGroups& groups, int in, int out, const bf16* rows, const bf16* other,
                          const Contribution<bf16>& result) {
    using Product = GroupedProduct<kind>;
    Product work{groups, in, out, {}, result};
    const std::int64_t total = groups.rows(), weights = std::int64_t{groups.groups.count} * out,
                       height = Product::is_of_weights ? weights : total;
    work.to = result.wide ? tensor_map(result.wide, height, work.columns(), work.columns(), 16)
                          : tensor_map(result.data, height, work.columns(), work.columns(), 16);
    const auto factors = [&] {
        if constexpr (kind == GroupedProductKind::forward)
            return ProductFactors<Product>(rows, total, in, other, weights, in);
        else if constexpr (kind == GroupedProductKind::rows_gradient)
            return ProductFactors<Product>(rows, total, out, other, in, weights);
        else
            return ProductFactors<Product>(rows, out, total, other, in, total);
    }();
    multiply_in_tiles(factors, work, work.count());
}

}  // namespace tenon::cuda
