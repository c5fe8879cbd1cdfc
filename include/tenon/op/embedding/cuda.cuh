#pragma once

#include <cstdint>

#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/cuda/sort.cuh>
#include <tenon/op/embedding/embedding.hpp>

namespace tenon {
namespace cuda {

/// The id at a position, 0 in place of one that is out of range.
template <class Id>
__device__ __forceinline__ std::uint32_t valid_id(Id id, int vocabulary) {
    return static_cast<std::uint64_t>(id) < static_cast<std::uint64_t>(vocabulary)
               ? static_cast<std::uint32_t>(id)
               : 0;
}

/// A thread for each pack of N elements; `packs` make up a row.
template <int N, class T, class Id>
__global__ void look_up(const T* weight, int vocabulary, const Id* ids, std::int64_t count,
                        const Divisor packs, T* y, Fault* fault, const char* expected) {
    const std::int64_t number = thread_number();
    std::int64_t position = number;
    const std::int64_t column = packs.divide(position);
    if (position >= count) return;
    const Id id = ids[position];
    const std::uint32_t row = valid_id(id, vocabulary);
    if (column == 0 && static_cast<std::uint64_t>(id) >= static_cast<std::uint64_t>(vocabulary))
        report_fault(fault, expected, vocabulary, static_cast<long long>(id), position);
    using P = Pack<T, N>;
    reinterpret_cast<P*>(y)[number] =
        reinterpret_cast<const P*>(weight)[std::int64_t{row} * packs.value() + column];
}

/// Pairs of an id and its position, to be sorted.
template <class Id>
struct IdAtPosition {
    const Id* ids;
    int vocabulary;

    __device__ std::uint64_t operator()(std::int64_t position) const {
        return std::uint64_t{valid_id(ids[position], vocabulary)} << 32 |
               static_cast<std::uint32_t>(position);
    }
};

/// Of positions in the order of their ids, so many are one block's.
inline constexpr int summed_positions = 16;

/// Adds up the rows of each id, in the order of the positions. An id that neighbouring blocks share leaves
/// its sums in `partial`: [blocks, 2, width], for one that began before this block's positions, and for one
/// that goes on after them. A thread for each N columns.
template <int N, class C, class G>
__global__ void sum_rows(const std::uint64_t* sorted, std::int64_t count, std::int64_t width,
                         const G* upstream, C* partial, const Contribution<G> gradient) {
    const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
    if (column >= width) return;
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * summed_positions;
    const std::int64_t left = count - first;
    const int here = left < summed_positions ? static_cast<int>(left) : summed_positions;
    constexpr std::uint32_t none = 0xffffffffu;
    const auto id_at = [&](std::int64_t at) {
        return at >= 0 && at < count ? static_cast<std::uint32_t>(sorted[at] >> 32) : none;
    };
    const std::uint32_t before = id_at(first - 1), after = id_at(first + here);
    std::uint32_t id = id_at(first);
    C sums[N] = {};
    const auto give = [&](bool goes_on) {
        C* const shared = partial + blockIdx.x * 2 * width + column;
        if (id == before)
            store(sums, shared);
        else if (goes_on)
            store(sums, shared + width);
        else
            contribute(gradient, id * width + column, sums);
    };
    constexpr int ahead = 8;  // rows that are read together
    for (int begin = 0; begin < here; begin += ahead) {
        Pack<G, N> rows[ahead];
        std::uint32_t ids[ahead];
#pragma unroll
        for (int i = 0; i < ahead; ++i) {
            if (begin + i >= here) break;
            const std::uint64_t pair = sorted[first + begin + i];
            ids[i] = static_cast<std::uint32_t>(pair >> 32);
            rows[i] = *reinterpret_cast<const Pack<G, N>*>(
                upstream + static_cast<std::int64_t>(static_cast<std::uint32_t>(pair)) * width + column);
        }
#pragma unroll
        for (int i = 0; i < ahead; ++i) {
            if (begin + i >= here) break;
            if (ids[i] != id) {
                give(false);
                id = ids[i];
#pragma unroll
                for (int j = 0; j < N; ++j) sums[j] = C(0);
            }
#pragma unroll
            for (int j = 0; j < N; ++j) sums[j] += convert<C>(rows[i].element[j]);
        }
    }
    give(id == after);
}

/// Adds up what neighbouring blocks have of an id that they share; the block where it begins does.
template <int N, class C, class G>
__global__ void sum_partial_rows(const std::uint64_t* sorted, std::int64_t count, std::int64_t width,
                                 const C* partial, const Contribution<G> gradient) {
    const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
    if (column >= width) return;
    const auto id_at = [&](std::int64_t at) { return static_cast<std::uint32_t>(sorted[at] >> 32); };
    std::int64_t block = blockIdx.x;
    const std::int64_t next = (block + 1) * summed_positions;
    if (next >= count) return;
    const std::uint32_t id = id_at(next);
    if (id_at(next - 1) != id) return;
    const std::int64_t first = block * summed_positions;
    if (first > 0 && id_at(first) == id && id_at(first - 1) == id) return;  // it began before
    std::int64_t last = block + 1, end = (count - 1) / summed_positions;  // the last block that shares the id
    while (last < end) {
        const std::int64_t middle = (last + end + 1) / 2;
        if (id_at(middle * summed_positions) == id)
            last = middle;
        else
            end = middle - 1;
    }
    C sums[N];
    load(partial + (block * 2 + 1) * width + column, sums);
    constexpr int ahead = 8;
    for (++block; block <= last; block += ahead) {
        C more[ahead][N];
#pragma unroll
        for (int i = 0; i < ahead; ++i)
            if (block + i <= last) load(partial + (block + i) * 2 * width + column, more[i]);
#pragma unroll
        for (int i = 0; i < ahead; ++i)
#pragma unroll
            for (int j = 0; j < N; ++j)
                if (block + i <= last) sums[j] += more[i][j];
    }
    contribute(gradient, id * width + column, sums);
}

}  // namespace cuda

template <>
struct Kernel<Embedding, Cuda> {
    /// y is overwritten. An id that is out of range is reported as a fault.
    template <class T, class Id>
    static void forward(const Extents& table, const T* weight, const Id* ids, std::int64_t count, T* y) {
        constexpr int n = 16 / sizeof(T);
        const auto run = [&](auto* look_up, int each) {
            const std::int64_t packs = table[1] / each;
            if (packs == 0) return;
            cuda::launch(look_up, {cuda::blocks_for(count * packs, threads, 0x7fffffff), threads}, weight,
                         table[0], ids, count, cuda::Divisor(packs), y, cuda::fault(),
                         "embedding: expected ids below");
        };
        if (table[1] % n == 0 && cuda::is_aligned<n>(weight) && cuda::is_aligned<n>(y))
            run(cuda::look_up<n, T, Id>, n);
        else
            run(cuda::look_up<1, T, Id>, 1);
    }

    /// The gradient of the table: each row adds up in the order of its positions.
    template <class G, class Id>
    static void backward(const Extents& table, const Id* ids, std::int64_t count, const G* upstream,
                         Contribution<G> gradient) {
        using C = ComputeOf<G>;
        if (!gradient.accumulate) {
            if (gradient.wide)
                Memory<Cuda>::fill(gradient.wide, table.count(), C(0));
            else
                Memory<Cuda>::fill(gradient.data, table.count(), G(0.0f));
        }
        if (count == 0 || table.count() == 0) return;
        const Storage sorted = cuda::sort(cuda::IdAtPosition<Id>{ids, table[0]}, count);
        const auto* const pairs = static_cast<const std::uint64_t*>(sorted.data());
        constexpr int n = 16 / sizeof(G);
        if (table[1] % n == 0)
            add_rows<n>(table, pairs, count, upstream, gradient);
        else
            add_rows<1>(table, pairs, count, upstream, gradient);
    }

private:
    static constexpr int threads = 128;

    template <int N, class G>
    static void add_rows(const Extents& table, const std::uint64_t* sorted, std::int64_t count,
                         const G* upstream, const Contribution<G>& gradient) {
        using C = ComputeOf<G>;
        const std::int64_t width = table[1];
        const unsigned blocks = cuda::blocks_for(count, cuda::summed_positions, 0x7fffffff);
        const Storage partial(
            Memory<Cuda>::allocate(static_cast<std::size_t>(2 * blocks * width) * sizeof(C)));
        const unsigned across = cuda::blocks_for(width, std::int64_t{N} * threads);
        const cuda::Grid grid{
            dim3(blocks, across),
            cuda::blocks_for(width, std::int64_t{N} * cuda::warp_size * across) * cuda::warp_size};
        auto* const sums = static_cast<C*>(partial.data());
        cuda::launch(cuda::sum_rows<N, C, G>, grid, sorted, count, width, upstream, sums, gradient);
        cuda::launch(cuda::sum_partial_rows<N, C, G>, grid, sorted, count, width, sums, gradient);
    }
};

}  // namespace tenon
