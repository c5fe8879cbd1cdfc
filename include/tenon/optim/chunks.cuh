#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <tenon/core/storage.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>

namespace tenon::cuda {

/// A piece of one array of a list: what one block works on.
struct Chunk {
    std::int32_t array, part;
};

/// Elements of a chunk, but for an array's last.
inline constexpr std::int64_t chunk_size = 8192;
inline constexpr unsigned chunk_threads = 256;

/// The chunks of a list of arrays, in order, in the memory of the device.
class Chunks {
public:
    Chunks() = default;
    /// Of `size` elements each, but for an array's last.
    explicit Chunks(const std::vector<std::int64_t>& counts, std::int64_t size = chunk_size) {
        std::vector<Chunk> chunks;
        for (std::size_t array = 0; array < counts.size(); ++array)
            for (std::int64_t part = 0; part * size < counts[array]; ++part)
                chunks.push_back({static_cast<std::int32_t>(array), static_cast<std::int32_t>(part)});
        if (chunks.empty()) return;
        count_ = static_cast<std::int64_t>(chunks.size());
        storage_ = Storage(Memory<Cuda>::allocate(chunks.size() * sizeof(Chunk)));
        Memory<Cuda>::copy(chunks.data(), count_, static_cast<Chunk*>(storage_.data()));
    }

    std::int64_t count() const { return count_; }
    const Chunk* device() const { return static_cast<const Chunk*>(storage_.data()); }
    /// A block for each chunk.
    Grid grid() const { return {static_cast<unsigned>(count_), chunk_threads}; }

private:
    std::int64_t count_ = 0;
    Storage storage_;
};

/// Calls body(at, n) for the elements of a chunk of an array: by this thread, in packs of n = N where they
/// are whole and the array is aligned, else one by one. n is an integral constant.
template <int N, class Body>
__device__ __forceinline__ void for_each_pack(const Chunk& chunk, std::int64_t count, bool is_aligned,
                                              const Body& body) {
    const std::int64_t first = chunk.part * chunk_size;
    const std::int64_t last = first + chunk_size < count ? first + chunk_size : count;
    const std::int64_t whole = is_aligned ? first + (last - first) / N * N : first;
    for (std::int64_t at = first + threadIdx.x * N; at < whole; at += chunk_threads * N)
        body(at, std::integral_constant<int, N>());
    for (std::int64_t at = whole + threadIdx.x; at < last; at += chunk_threads)
        body(at, std::integral_constant<int, 1>());
}

}  // namespace tenon::cuda
