#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/storage.hpp>
#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>

namespace tenon::cuda {

/// A reduction R of strided arrays over some of their axes: finish(k, R over all l of read(k, offsets)),
/// where the offsets lead to element l of result k. The work is cut by the extents alone, so that the order
/// of sums is the same on every card: they are of type C within a part, and of f64 from part to part.
template <class R, class C, int arrays, class Read, class Finish>
struct AxesReduction {
    IndexSpace<arrays> kept = {}, reduced = {};
    std::int64_t results = 0, length = 0;
    Read read = {};
    Finish finish = {};
    C identity = R::template identity<C>();
    int parts = 1;
    std::int64_t part_length = 0;
    C* partial = nullptr;  // [results, parts]

    struct Combine {
        template <class V>
        __device__ V operator()(V a, V b) const {
            return R::combine(a, b);
        }
    };

    /// R over some elements of part blockIdx.y: number `first`, and so on by steps.
    __device__ C part_of(std::int64_t k, int first, int step) const {
        const std::int64_t begin = blockIdx.y * part_length,
                           end = begin + part_length < length ? begin + part_length : length;
        auto at = kept.offsets(k);
        C total = identity;
        if (reduced.rank <= 1) {  // as it mostly is; without a branch, so that reads are under way together
#pragma unroll
            for (int i = 0; i < arrays; ++i) at.in[i] += (begin + first) * reduced.step[i][0];
#pragma unroll 8
            for (std::int64_t l = begin + first; l < end; l += step) {
                total = R::combine(total, read(k, at));
#pragma unroll
                for (int i = 0; i < arrays; ++i) at.in[i] += step * reduced.step[i][0];
            }
            return total;
        }
        const auto start = at;
#pragma unroll 1
        for (std::int64_t l = begin + first; l < end; l += step) {
            at = reduced.offsets(l);
#pragma unroll
            for (int i = 0; i < arrays; ++i) at.in[i] += start.in[i];
            total = R::combine(total, read(k, at));
        }
        return total;
    }

    __device__ void give(std::int64_t k, C total) const {
        if (parts == 1)
            finish(k, static_cast<double>(total));
        else
            partial[k * parts + blockIdx.y] = total;
    }
};

/// Reads the array that is reduced, the first.
template <class C, class T>
struct ReadElements {
    const T* x;

    template <class Offsets>
    __device__ C operator()(std::int64_t, const Offsets& at) const {
        return convert<C>(x[at.in[0]]);
    }
};

/// Contributes each result to an element of a gradient.
template <class C, class G>
struct ContributeReduced {
    IndexSpace<1> places = {};
    std::int64_t offset = 0;
    Contribution<G> to = {};

    __device__ void operator()(std::int64_t k, double total) const {
        contribute(to, offset + places.offsets(k).in[0], static_cast<C>(total));
    }
};

/// A thread for each result: neighbours read side by side.
template <class Reduction>
__global__ void reduce_by_threads(const __grid_constant__ Reduction reduction) {
    const std::int64_t k = thread_number();
    if (k < reduction.results) reduction.give(k, reduction.part_of(k, 0, 1));
}

/// A warp for each result, whose elements lie side by side.
template <class Reduction>
__global__ void reduce_by_warps(const __grid_constant__ Reduction reduction) {
    const std::int64_t k = thread_number() / warp_size;
    if (k >= reduction.results) return;
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
    const auto total = reduce_warp(reduction.part_of(k, lane, warp_size), typename Reduction::Combine());
    if (lane == 0) reduction.give(k, total);
}

/// A warp for each result adds its parts up.
template <class Reduction>
__global__ void reduce_parts(const __grid_constant__ Reduction reduction) {
    const std::int64_t k = thread_number() / warp_size;
    if (k >= reduction.results) return;
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
    const typename Reduction::Combine combine;
    double total = reduction.identity;
    for (int part = lane; part < reduction.parts; part += warp_size)
        total = combine(total, static_cast<double>(reduction.partial[k * reduction.parts + part]));
    total = reduce_warp(total, combine);
    if (lane == 0) reduction.finish(k, total);
}

/// Runs a reduction whose spaces and functions are given.
template <class R, class C, int arrays, class Read, class Finish>
void reduce_axes(AxesReduction<R, C, arrays, Read, Finish> reduction) {
    using Reduction = AxesReduction<R, C, arrays, Read, Finish>;
    constexpr int threads = 128, most_parts = 0xffff;
    constexpr std::int64_t wanted_threads = std::int64_t{1} << 18, least = 64, most = 1024;
    // The array that is read, the first, decides whose elements lie side by side.
    const IndexSpace<arrays>& reduced = reduction.reduced;
    const bool by_warps = reduced.rank > 0 && reduced.step[0][reduced.rank - 1] == 1;
    const std::int64_t together = by_warps ? warp_size : 1;
    const auto blocks_of = [](std::int64_t count, std::int64_t each) { return (count + each - 1) / each; };
    reduction.part_length =
        std::max(std::clamp(reduction.length * reduction.results * together / wanted_threads,
                            least * together, most * together),
                 blocks_of(reduction.length, most_parts));
    reduction.parts =
        static_cast<int>(std::max<std::int64_t>(1, blocks_of(reduction.length, reduction.part_length)));
    Storage partial;
    if (reduction.parts > 1) {
        partial = Storage(Memory<Cuda>::allocate(
            static_cast<std::size_t>(reduction.results * reduction.parts) * sizeof(C)));
        reduction.partial = static_cast<C*>(partial.data());
    }
    const auto grid = [&](std::int64_t lanes, int parts) {
        return Grid{dim3(static_cast<unsigned>(blocks_of(reduction.results * lanes, threads)),
                         static_cast<unsigned>(parts)),
                    threads};
    };
    launch(by_warps ? reduce_by_warps<Reduction> : reduce_by_threads<Reduction>,
           grid(together, reduction.parts), reduction);
    if (reduction.parts > 1) launch(reduce_parts<Reduction>, grid(warp_size, 1), reduction);
}

}  // namespace tenon::cuda
