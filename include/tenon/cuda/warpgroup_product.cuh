#pragma once

#include <cstdint>

#include <tenon/cuda/architecture.cuh>
#include <tenon/cuda/bulk_copy.cuh>
#include <tenon/cuda/device.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/cuda/tensor_map.hpp>
#include <tenon/cuda/warp_roles.cuh>
#include <tenon/cuda/warpgroup_mma.cuh>

/// Products of a matrix [rows, depth] and the transpose of another, [columns, depth], both of bf16, in tiles,
/// for what becomes of a tile to be decided elsewhere. Of sm_90a.
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
    /// The boxes in which factors are copied.
    static constexpr int left_box = block_rows, right_box = columns / blocks;
};

/// Where a tile begins: its rows in the left factor, and its columns, which are rows of the right factor.
struct ProductTile {
    int row, column;
};

/// The numbers of tiles by rows, `together` tiles high, in which columns follow each other: what blocks at
/// work at one time read is small, and in the second-level cache.
struct TileOrder {
    int down, across, together;

    __host__ __device__ int count() const { return down * across; }
    __device__ ProductTile operator[](int number) const {
        const int group = number / (together * across), first = group * together,
                  high = down - first < together ? down - first : together,
                  within = number - group * together * across;
        return {(first + within % high) * WarpgroupTiling::rows, within / high * WarpgroupTiling::columns};
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

/// The stages of a block in shared memory. `full` ends a phase when a stage has been copied, `empty` when all
/// warps of both blocks have read it.
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
                                         ProductTile tile, int depth, StagePosition& position) const {
        const auto block = static_cast<int>(block_in_cluster());
        constexpr unsigned all = (1u << Tiling::blocks) - 1;
        for (int first = 0; first < depth; first += Tiling::depth, position.advance()) {
            const BulkBarrier arrival = full_at(position.stage);
            empty_at(position.stage).wait(position.parity ^ 1);
            arrival.arrive_expecting(Tiling::stage_bytes);
            load_box(left(position.stage), left_matrix, tile.row + block * Tiling::block_rows, first,
                     arrival);
            load_box_in_blocks(right(position.stage) + block * (Tiling::right_bytes / Tiling::blocks),
                               right_matrix, tile.column + block * Tiling::right_box, first, arrival, all);
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
            const SharedFactor rows(left(position.stage) +
                                    warpgroup * (Tiling::left_bytes / Tiling::warpgroups)),
                columns(right(position.stage));
            begin_products();
#pragma unroll
            for (int i = 0; i < Tiling::depth / 16; ++i)
                start_multiply_add(sums, rows.description + i * SharedFactor::step,
                                   columns.description + i * SharedFactor::step, first > 0 || i > 0);
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
///   int depth, and lead: by how many stages the first warpgroup goes ahead;
///   bool is_needed(): whether there is anything to do, the same for all blocks;
///   int count(): how many numbers of tiles there are;
///   bool find(int number, ProductTile&): where a tile is, or false if there is none of that number;
///   prepare(ProductTile, int row): what is to be known of a warpgroup's rows, before their product is made;
///   finish(sums, prepared, ProductTile, int row, std::uint32_t shared): takes a warpgroup's product.
///   `shared` is the address of 4 KiB for each warp, which the copy engine may read until the block ends.
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
        const ProductStages stages{data, shared_address(barriers), shared_address(barriers + Tiling::stages)};
        if (threadIdx.x == 0) stages.initialize();
        __syncthreads();
        synchronize_cluster();
        const int pair = static_cast<int>(blockIdx.x) / Tiling::blocks,
                  pairs = static_cast<int>(gridDim.x) / Tiling::blocks, count = work.count();
        const int warpgroup = static_cast<int>(threadIdx.x) / Tiling::warpgroup_threads;
        StagePosition position;
        ProductTile tile;
        if (warpgroup == Tiling::warpgroups) {
            give_registers<Tiling::copying_registers>();
            if (threadIdx.x % Tiling::warpgroup_threads == 0)
                for (int number = pair; number < count; number += pairs)
                    if (work.find(number, tile)) stages.copy(left, right, tile, work.depth, position);
            __syncwarp();
        } else {
            take_registers<Tiling::multiplying_registers>();
            const int warp = static_cast<int>(threadIdx.x) / warp_size;
            const std::uint32_t own = data + Tiling::stages * Tiling::stage_bytes + warp * Tiling::warp_bytes;
            // The second warpgroup begins some stages after the first, and stays behind: while one of them
            // finishes a tile the other one multiplies.
            bool is_first = true;
            for (int number = pair; number < count; number += pairs) {
                if (!work.find(number, tile)) continue;
                const int row = tile.row + static_cast<int>(block_in_cluster()) * Tiling::block_rows +
                                warpgroup * Tiling::warpgroup_rows;
                const auto rows = work.prepare(tile, row);
                WarpgroupSums<Tiling::columns> sums;
                const int steps = (work.depth + Tiling::depth - 1) / Tiling::depth, lead = Work::lead;
                if (is_first && lead > 0 && warpgroup == 1)
                    wait_at_barrier<1, 2 * Tiling::warpgroup_threads>();
                stages.multiply(sums, warpgroup, work.depth, position, steps < lead ? steps : lead, [&] {
                    if (is_first && warpgroup == 0) arrive_at_barrier<1, 2 * Tiling::warpgroup_threads>();
                });
                is_first = false;
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

/// The factors of a product as the kernel copies them: packed matrices of a depth that is a multiple of 8.
struct ProductFactors {
    CUtensorMap left, right;

    ProductFactors(const void* left, std::int64_t rows, const void* right, std::int64_t columns,
                   std::int64_t depth)
        : left(tensor_map(left, rows, depth, depth, WarpgroupTiling::left_box)),
          right(tensor_map(right, columns, depth, depth, WarpgroupTiling::right_box)) {}
};

/// Launches `work` with at most so many tiles.
template <class Work>
void multiply_in_tiles(const ProductFactors& factors, const Work& work, int tiles) {
    const int pairs = device_properties().multiprocessors / WarpgroupTiling::blocks;
    launch(multiply_tiles<Work>,
           {.blocks = static_cast<unsigned>((tiles < pairs ? tiles : pairs) * WarpgroupTiling::blocks),
            .threads = WarpgroupTiling::threads,
            .shared_bytes = WarpgroupTiling::shared_bytes,
            .cluster = WarpgroupTiling::blocks},
           factors.left, factors.right, work);
}

}  // namespace tenon::cuda
