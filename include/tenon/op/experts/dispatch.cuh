#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/reduce.cuh>
#include <tenon/op/experts/dispatch.hpp>

namespace tenon {
namespace cuda {

/// Assignments that a warp counts and sorts, in order.
inline constexpr int sorted_assignments = 1024;

/// Calls body(assignment, expert, rank) for each of a warp's assignments, in its lane: the rank is among the
/// warp's assignments to the expert. `counts` [experts], of shared memory, becomes how many there are.
template <class Body>
__device__ __forceinline__ void rank_assignments(const DispatchProblem& problem, const std::int32_t* experts,
                                                 int* counts, const Body& body) {
    const int lane = static_cast<int>(threadIdx.x);
    for (int expert = lane; expert < problem.experts; expert += warp_size) counts[expert] = 0;
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * sorted_assignments;
    for (int at = 0; at < sorted_assignments; at += warp_size) {
        __syncwarp();
        const std::int64_t assignment = first + at + lane;
        const int given = assignment < problem.assignments ? experts[assignment] : -1;
        const bool is_valid = given >= 0 && given < problem.experts;
        const int expert = is_valid ? given : -1;
        const unsigned same = __match_any_sync(0xffffffffu, expert), before = same & ((1u << lane) - 1);
        const int rank = is_valid ? counts[expert] + __popc(before) : 0;
        __syncwarp();
        if (is_valid && before == 0) counts[expert] += __popc(same);
        if (assignment < problem.assignments) body(assignment, given, is_valid ? rank : -1);
    }
    __syncwarp();
}

/// Counts the assignments of each block to each expert: counts [experts, blocks].
template <class Problem>
__global__ void count_assignments(const Problem problem, const std::int32_t* experts, int* counts,
                                  Fault* fault, const char* expected) {
    extern __shared__ int own[];
    rank_assignments(problem, experts, own, [&](std::int64_t assignment, int expert, int rank) {
        if (rank < 0) report_fault(fault, expected, problem.experts, expert, assignment);
    });
    for (int expert = static_cast<int>(threadIdx.x); expert < problem.experts; expert += warp_size)
        counts[static_cast<std::int64_t>(expert) * gridDim.x + blockIdx.x] = own[expert];
}

/// A thread's number added to those of the block's threads before it. `total` becomes the sum of all.
__device__ __forceinline__ int sum_with_before(int value, int* scratch, int& total) {
    const int lane = static_cast<int>(threadIdx.x) % warp_size,
              warp = static_cast<int>(threadIdx.x) / warp_size,
              warps = static_cast<int>(blockDim.x) / warp_size;
    for (int distance = 1; distance < warp_size; distance *= 2) {
        const int lower = __shfl_up_sync(0xffffffffu, value, distance);
        if (lane >= distance) value += lower;
    }
    __syncthreads();  // an earlier call's readers are done
    if (lane == warp_size - 1) scratch[warp] = value;
    __syncthreads();
    total = 0;
    int before = 0;
    for (int i = 0; i < warps; ++i) {
        if (i < warp) before += scratch[i];
        total += scratch[i];
    }
    return value + before;
}

/// Each block's counts of an expert become the sums of those of the blocks before; the load is their sum.
template <class Problem>
__global__ void sum_counts(const Problem, int blocks, int* counts, std::int32_t* load) {
    __shared__ int scratch[warp_size];
    int* const own = counts + static_cast<std::int64_t>(blockIdx.x) * blocks;
    int sum = 0;
    for (int first = 0; first < blocks; first += static_cast<int>(blockDim.x)) {
        const int at = first + static_cast<int>(threadIdx.x), count = at < blocks ? own[at] : 0;
        int total;
        const int here = sum_with_before(count, scratch, total);
        if (at < blocks) own[at] = sum + here - count;
        sum += total;
    }
    if (threadIdx.x == 0) load[blockIdx.x] = sum;
}

/// Where the experts' groups begin; one block.
template <class Problem>
__global__ void place_groups(const Problem problem, const std::int32_t* load, std::int32_t* begins) {
    __shared__ int scratch[warp_size];
    int sum = 0;
    for (int first = 0; first < problem.experts; first += static_cast<int>(blockDim.x)) {
        const int at = first + static_cast<int>(threadIdx.x);
        const int rows = at < problem.experts ? problem.aligned(problem.kept(load[at])) : 0;
        int total;
        const int here = sum_with_before(rows, scratch, total);
        if (at < problem.experts) begins[at + 1] = sum + here;
        sum += total;
    }
    if (threadIdx.x == 0) begins[0] = 0;
}

template <class Problem>
__global__ void place_assignments(const Problem problem, const std::int32_t* experts, const int* counts,
                                  const std::int32_t* begins, std::int32_t* slots, std::int32_t* sources) {
    extern __shared__ int own[];
    rank_assignments(problem, experts, own, [&](std::int64_t assignment, int expert, int rank) {
        int slot = -1;
        if (rank >= 0) {
            rank += counts[static_cast<std::int64_t>(expert) * gridDim.x + blockIdx.x];
            if (problem.capacity == 0 || rank < problem.capacity) slot = begins[expert] + rank;
        }
        slots[assignment] = slot;
        if (slot >= 0) sources[slot] = static_cast<std::int32_t>(assignment);
    });
}

/// A block counts the experts of a sequence: whole numbers, whose sums no order of addition changes.
template <class C>
__global__ void count_chosen(const std::int32_t* chosen, std::int64_t each, int experts, C* counts) {
    extern __shared__ int own[];
    for (int i = static_cast<int>(threadIdx.x); i < experts; i += static_cast<int>(blockDim.x)) own[i] = 0;
    __syncthreads();
    for (std::int64_t i = threadIdx.x; i < each; i += blockDim.x) {
        const std::int32_t expert = chosen[blockIdx.x * each + i];
        if (expert >= 0 && expert < experts) atomicAdd(own + expert, 1);
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < experts; i += static_cast<int>(blockDim.x))
        counts[static_cast<std::int64_t>(blockIdx.x) * experts + i] = static_cast<C>(own[i]);
}

}  // namespace cuda

/// A counting sort: blocks count, the counts are added up, and blocks place what they counted.
template <>
struct Kernel<Dispatch, Cuda> {
    static void run(const DispatchProblem& problem, const std::int32_t* experts, std::int32_t* begins,
                    std::int32_t* slots, std::int32_t* sources, std::int32_t* load) {
        using Problem = DispatchProblem;
        Memory<Cuda>::fill(sources, problem.rows, std::int32_t{-1});
        const unsigned blocks =
            std::max(1u, cuda::blocks_for(problem.assignments, cuda::sorted_assignments, 0x7fffffff));
        const Storage memory(Memory<Cuda>::allocate(std::size_t{blocks} *
                                                    static_cast<std::size_t>(problem.experts) * sizeof(int)));
        int* const counts = static_cast<int*>(memory.data());
        const cuda::Grid grid{blocks, cuda::warp_size,
                              static_cast<std::size_t>(problem.experts) * sizeof(int)};
        cuda::launch(cuda::count_assignments<Problem>, grid, problem, experts, counts, cuda::fault(),
                     "dispatch: expected experts below");
        cuda::launch(cuda::sum_counts<Problem>, {static_cast<unsigned>(problem.experts), 256}, problem,
                     static_cast<int>(blocks), counts, load);
        cuda::launch(cuda::place_groups<Problem>, {1, 1024}, problem, load, begins);
        cuda::launch(cuda::place_assignments<Problem>, grid, problem, experts, counts, begins, slots,
                     sources);
    }

    template <class C>
    static void count(const std::int32_t* chosen, int sequences, std::int64_t each, int experts, C* counts) {
        cuda::launch(cuda::count_chosen<C>,
                     {static_cast<unsigned>(sequences), 256, static_cast<std::size_t>(experts) * sizeof(int)},
                     chosen, each, experts, counts);
    }
};

}  // namespace tenon
