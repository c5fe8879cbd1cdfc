#pragma once

#include <cstdint>
#include <utility>

#include <tenon/core/storage.hpp>
#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>

namespace tenon::cuda {

/// Keys that a block sorts at once, two for each thread; and sorted runs that one pass merges.
inline constexpr int sorted_run = 1024, merged_runs = 32;

/// Sorts runs of keys, by a bitonic network. `key(i)`: key number i.
template <class Key>
__global__ void sort_runs(const Key key, std::int64_t count, std::uint64_t* to) {
    __shared__ std::uint64_t run[sorted_run];
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * sorted_run;
    const int thread = static_cast<int>(threadIdx.x);
    for (int i = thread; i < sorted_run; i += sorted_run / 2)
        run[i] = first + i < count ? key(first + i) : ~std::uint64_t{0};
    for (int length = 2; length <= sorted_run; length *= 2)
        for (int distance = length / 2; distance > 0; distance /= 2) {
            __syncthreads();
            const int low = 2 * thread - (thread & (distance - 1)), high = low + distance;
            const std::uint64_t a = run[low], b = run[high];
            if ((a > b) == ((low & length) == 0)) {
                run[low] = b;
                run[high] = a;
            }
        }
    __syncthreads();
    for (int i = thread; i < sorted_run; i += sorted_run / 2)
        if (first + i < count) to[first + i] = run[i];
}

/// Merges each `merged_runs` neighbouring runs of sorted keys, all different: a key's place is the number of
/// lesser ones. `run`: a power of two. A template so that only who sorts compiles it.
template <class Key>
__global__ void merge_runs(const Key* from, std::int64_t count, int run, Key* to) {
    const std::int64_t at = thread_number();
    if (at >= count) return;
    const Key key = from[at];
    const std::int64_t all = std::int64_t{run} * merged_runs, group = at / all * all;
    constexpr int together = 8;  // searches whose reads are under way at once
    std::int64_t place = group;
    for (int first = 0; first < merged_runs; first += together) {
        const Key* const runs = from + group + std::int64_t{first} * run;
        const std::int64_t left = count - group - std::int64_t{first} * run;
        if (left <= 0) break;
        int length[together], found[together] = {};  // of each run the keys, and the lesser ones of them
#pragma unroll
        for (int i = 0; i < together; ++i) {
            const std::int64_t rest = left - std::int64_t{i} * run;
            length[i] = static_cast<int>(rest < 0 ? 0 : rest < run ? rest : run);
        }
        for (int step = run; step > 0; step /= 2)
#pragma unroll
            for (int i = 0; i < together; ++i)
                if (found[i] + step <= length[i] && runs[std::int64_t{i} * run + found[i] + step - 1] < key)
                    found[i] += step;
#pragma unroll
        for (int i = 0; i < together; ++i) place += found[i];
    }
    to[place] = key;
}

/// Sorts `count` keys, all different and less than 2^64 - 1.
template <class Key>
Storage sort(const Key& key, std::int64_t count) {
    const auto allocate = [&] {
        return Storage(Memory<Cuda>::allocate(static_cast<std::size_t>(count) * sizeof(std::uint64_t)));
    };
    Storage sorted = allocate();
    launch(sort_runs<Key>, {blocks_for(count, sorted_run, count), sorted_run / 2}, key, count,
           static_cast<std::uint64_t*>(sorted.data()));
    for (std::int64_t run = sorted_run; run < count; run *= merged_runs) {
        Storage merged = allocate();
        constexpr int threads = 256;
        launch(merge_runs<std::uint64_t>, {blocks_for(count, threads, count), threads},
               static_cast<const std::uint64_t*>(sorted.data()), count, static_cast<int>(run),
               static_cast<std::uint64_t*>(merged.data()));
        sorted = std::move(merged);
    }
    return sorted;
}

}  // namespace tenon::cuda
