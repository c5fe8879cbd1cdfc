#pragma once

#include <cstdint>

#include <tenon/core/element.hpp>
#include <tenon/cuda/architecture.cuh>
#include <tenon/cuda/bulk_copy.cuh>
#include <tenon/cuda/device.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/cuda/tensor_map.hpp>
#include <tenon/cuda/warp_roles.cuh>
#include <tenon/cuda/warpgroup_mma.cuh>

/// Products of a matrix [rows, depth] and the transpose of another, [columns, depth], both of bf16, in tiles,
/// for what becomes of a tile to be decided elsewhere. Either may lie in memory as its transpose. Of sm_90a.
namespace tenon::cuda {

/// Two blocks share the columns of a tile, and each has rows of its own: a warp of each copies its part of
/// both factors to shared memory, in stages that go round, two warpgroups multiply.
struct WarpgroupTiling {
    static constexpr int blocks = 2, warpgroups = 2, stages = 4;
    static constexpr int warpgroup_threads = 128, warpgroup_rows = 64;
    static constexpr int block_rows = warpgroups * warpgroup_rows, rows = blocks * block_rows, columns = 256,
                         depth = 64;
    static constexpr int threads = (warpgroups + 1) * warpgroup_threads, warps = warpgroups * 4;
    static constexpr int left_bytes = block_rows * depth * 2, right_bytes = columns * depth * 2,
                         stage_bytes = left_bytes + right_bytes;
    /// What each multiplying warp has of shared memory besides.
    static constexpr int warp_bytes = 4096;
    static constexpr int shared_bytes = 1024 + stages * stage_bytes + warps * warp_bytes;
    static constexpr int copying_registers = 40, multiplying_registers = 232;
    /// The rows of each factor that a block copies, and in how many at once.
    static constexpr int left_rows = block_rows, right_rows = columns / blocks;
    static constexpr int box_rows(FactorOrder order, int rows) {
        return order == FactorOrder::by_row ? rows : depth;
    }
};

/// Where a tile begins: its rows in the left factor, and its columns, which are rows of the right factor; of
/// which depth its product is, and where that begins in the factors; and whose it is, if there are groups.
struct ProductTile {
    int row, column, depth, left_depth = 0, right_depth = 0, group = 0;
};

/// The numbers of tiles by rows, `together` tiles high, in which columns follow each other: what blocks at
/// work at one time read is small, and in the second-level cache.
struct TileOrder {
    int down, across, together;

    __host__ __device__ int count() const { return down * across; }
    __device__ ProductTile at(int number, int depth) const {
        const int group = number / (together * across), first = group * together,
                  high = down - first < together ? down - first : together,
                  within = number - group * together * across;
        return {(first + within % high) * WarpgroupTiling::rows, within / high * WarpgroupTiling::columns,
                depth};
    }
};

/// Which stage is next, and the parity of its round.
struct StagePosition {
    int stage = 0;
    unsigned parity = 0;

    __device__ __forceinline__ void advance() {
        if (++stage == WarpgroupTiling::stages) {
            stage = 0;
            parity ^= 1;
        }
    }
};

/// Starts a block's copies of 64 numbers along the depth of `rows` rows, as `load(address, row, column)` with
/// the place in the matrix for each box.
template <FactorOrder order, int rows, class Load>
__device__ __forceinline__ void load_rows(std::uint32_t to, int row, int depth, const Load& load) {
    if constexpr (order == FactorOrder::by_row) {
        load(to, row, depth);
    } else {
#pragma unroll
        for (int first = 0; first < rows; first += 64) load(to + first * 128, depth, row + first);
    }
}

/// The stages of a block in shared memory. `full` ends a phase when a stage has been copied, `empty` when all
/// warps of both blocks have read it.
template <FactorOrder left_order, FactorOrder right_order>
struct ProductStages {
    using Tiling = WarpgroupTiling;
    std::uint32_t data, full, empty;

    __device__ std::uint32_t left(int stage) const { return data + stage * Tiling::stage_bytes; }
    __device__ std::uint32_t right(int stage) const { return left(stage) + Tiling::left_bytes; }
    __device__ BulkBarrier full_at(int stage) const { return {full + stage * 8}; }
    __device__ BulkBarrier empty_at(int stage) const { return {empty + stage * 8}; }

    __device__ void initialize() const {
        for (int stage = 0; stage < Tiling::stages; ++stage) {
            full_at(stage).initialize(1);
            empty_at(stage).initialize(Tiling::blocks * Tiling::warps);
        }
        publish_barriers();
    }

    /// Copies what a tile needs, stage by stage; a thread's work.
    __device__ __forceinline__ void copy(const CUtensorMap& left_matrix, const CUtensorMap& right_matrix,
                                         const ProductTile& tile, StagePosition& position) const {
        const auto block = static_cast<int>(block_in_cluster());
        constexpr unsigned all = (1u << Tiling::blocks) - 1;
        for (int first = 0; first < tile.depth; first += Tiling::depth, position.advance()) {
            const BulkBarrier arrival = full_at(position.stage);
            empty_at(position.stage).wait(position.parity ^ 1);
            arrival.arrive_expecting(Tiling::stage_bytes);
            load_rows<left_order, Tiling::left_rows>(
                left(position.stage), tile.row + block * Tiling::left_rows, tile.left_depth + first,
                [&](std::uint32_t to, int row, int column) {
                    load_box(to, left_matrix, row, column, arrival);
                });
            load_rows<right_order, Tiling::right_rows>(
                right(position.stage) + block * (Tiling::right_bytes / Tiling::blocks),
                tile.column + block * Tiling::right_rows, tile.right_depth + first,
                [&](std::uint32_t to, int row, int column) {
                    load_box_in_blocks(to, right_matrix, row, column, arrival, all);
                });
        }
    }

    /// A warpgroup's product of its rows of a tile. `after_steps` runs when so many stages are at work.
    template <class Then>
    __device__ __forceinline__ void multiply(WarpgroupSums<Tiling::columns>& sums, int warpgroup, int depth,
                                             StagePosition& position, int steps,
                                             const Then& after_steps) const {
        const unsigned lane = threadIdx.x % warp_size;
        int previous = -1;
        const auto release = [&] {
            if (previous >= 0 && lane < Tiling::blocks) empty_at(previous).arrive_in_block(lane);
        };
        for (int first = 0, step = 1; first < depth; first += Tiling::depth, ++step, position.advance()) {
            full_at(position.stage).wait(position.parity);
            const SharedFactor<left_order> rows(left(position.stage) +
                                                warpgroup * (Tiling::left_bytes / Tiling::warpgroups));
            const SharedFactor<right_order> columns(right(position.stage));
            begin_products();
#pragma unroll
            for (int i = 0; i < Tiling::depth / 16; ++i)
                start_multiply_add<left_order, right_order>(sums, rows.description + i * rows.step,
                                                            columns.description + i * columns.step,
                                                            first > 0 || i > 0);
            commit_products();
            wait_products<1>();
            release();
            previous = position.stage;
            if (step == steps) after_steps();
        }
        wait_products<0>();
        pin(sums);
        release();
    }
};

/// The products of tiles that `Work` chooses, one after another in each pair of blocks. It has
///   FactorOrder left_order, right_order; int lead: by how many stages the first warpgroup goes ahead;
///   bool is_needed(): whether there is anything to do, the same for all blocks;
///   int count(): how many numbers of tiles there are;
///   search(): what `find` remembers, a thread's own, as it is asked for ever greater numbers;
///   bool find(int number, ProductTile&, search): where a tile is, or false if there is none of that number;
///   prepare(ProductTile, int row): what is to be known of a warpgroup's rows, before their product is made;
///   finish(sums, prepared, ProductTile, int row, std::uint32_t shared): takes a warpgroup's product, which
///   is undefined where the depth is 0. `shared` is the address of 4 KiB for each warp, which the copy engine
///   may read until the block ends.
template <class Work>
__global__ void __launch_bounds__(WarpgroupTiling::threads, 1)
    multiply_tiles(const __grid_constant__ CUtensorMap left, const __grid_constant__ CUtensorMap right,
                   const __grid_constant__ Work work) {
    if constexpr (is_sm_90a) {
        using Tiling = WarpgroupTiling;
        extern __shared__ unsigned char dynamic_memory[];
        __shared__ std::uint64_t barriers[2 * Tiling::stages];
        if (!work.is_needed()) return;

        const std::uint32_t data = (shared_address(dynamic_memory) + 1023) & ~std::uint32_t{1023};
        const ProductStages<Work::left_order, Work::right_order> stages{
            data, shared_address(barriers), shared_address(barriers + Tiling::stages)};
        if (threadIdx.x == 0) stages.initialize();
        __syncthreads();
        synchronize_cluster();
        const int pair = static_cast<int>(blockIdx.x) / Tiling::blocks,
                  pairs = static_cast<int>(gridDim.x) / Tiling::blocks, count = work.count();
        const int warpgroup = static_cast<int>(threadIdx.x) / Tiling::warpgroup_threads;
        StagePosition position;
        ProductTile tile;
        auto search = work.search();
        if (warpgroup == Tiling::warpgroups) {
            give_registers<Tiling::copying_registers>();
            if (threadIdx.x % Tiling::warpgroup_threads == 0)
                for (int number = pair; number < count; number += pairs)
                    if (work.find(number, tile, search)) stages.copy(left, right, tile, position);
            __syncwarp();
        } else {
            take_registers<Tiling::multiplying_registers>();
            const int warp = static_cast<int>(threadIdx.x) / warp_size;
            const std::uint32_t own = data + Tiling::stages * Tiling::stage_bytes + warp * Tiling::warp_bytes;
            // The second warpgroup begins some stages after the first, and stays behind: while one of them
            // finishes a tile the other one multiplies.
            bool is_first = true;
            for (int number = pair; number < count; number += pairs) {
                if (!work.find(number, tile, search)) continue;
                const int row = tile.row + static_cast<int>(block_in_cluster()) * Tiling::block_rows +
                                warpgroup * Tiling::warpgroup_rows;
                const auto rows = work.prepare(tile, row);
                WarpgroupSums<Tiling::columns> sums;
                const int steps = (tile.depth + Tiling::depth - 1) / Tiling::depth, lead = Work::lead;
                if (is_first && lead > 0 && steps > 0 && warpgroup == 1)
                    wait_at_barrier<1, 2 * Tiling::warpgroup_threads>();
                stages.multiply(sums, warpgroup, tile.depth, position, steps < lead ? steps : lead, [&] {
                    if (is_first && warpgroup == 0) arrive_at_barrier<1, 2 * Tiling::warpgroup_threads>();
                });
                is_first = is_first && steps == 0;
                work.finish(sums, rows, tile, row, own);
            }
            wait_stores();
        }
        synchronize_cluster();  // a block's shared memory stays until the other has arrived at its barriers
    }
}

/// Whether this GPU and this program have the instructions.
template <class Work>
bool can_multiply_tiles() {
    static const bool can = [] {
        // Compiled for another architecture the kernel is empty, and has no barriers.
        cudaFuncAttributes attributes{};
        check(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(multiply_tiles<Work>)),
              "cudaFuncGetAttributes");
        return attributes.sharedSizeBytes > 0 &&
               device_properties().shared_bytes >= WarpgroupTiling::shared_bytes + 512;
    }();
    return can;
}

/// The factors of a product as the kernel copies them: packed matrices, in whose memory rows have a multiple
/// of 8 numbers. `rows` and `depth` are those of the factor, whichever order it lies in.
template <FactorOrder order>
CUtensorMap factor_map(const bf16* data, std::int64_t rows, std::int64_t depth, int rows_at_once) {
    const int box = WarpgroupTiling::box_rows(order, rows_at_once);
    return order == FactorOrder::by_row ? tensor_map(data, rows, depth, depth, box)
                                        : tensor_map(data, depth, rows, rows, box);
}
template <class Work>
struct ProductFactors {
    CUtensorMap left, right;

    ProductFactors(const bf16* left, std::int64_t rows, std::int64_t left_depth, const bf16* right,
                   std::int64_t columns, std::int64_t right_depth)
        : left(factor_map<Work::left_order>(left, rows, left_depth, WarpgroupTiling::left_rows)),
          right(factor_map<Work::right_order>(right, columns, right_depth, WarpgroupTiling::right_rows)) {}
};

/// Launches `work` with at most so many tiles.
template <class Work>
void multiply_in_tiles(const ProductFactors<Work>& factors, const Work& work, int tiles) {
    const int pairs = device_properties().multiprocessors / WarpgroupTiling::blocks;
    launch(multiply_tiles<Work>,
           {.blocks = static_cast<unsigned>((tiles < pairs ? tiles : pairs) * WarpgroupTiling::blocks),
            .threads = WarpgroupTiling::threads,
            .shared_bytes = WarpgroupTiling::shared_bytes,
            .cluster = WarpgroupTiling::blocks},
           factors.left, factors.right, work);
}

}  // namespace tenon::cuda
