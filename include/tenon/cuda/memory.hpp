#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <tenon/core/storage.hpp>
#include <tenon/core/tracking.hpp>
#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/memory_pool.hpp>
#include <tenon/cuda/memory_reserve.hpp>
#include <tenon/cuda/stream.hpp>

namespace tenon {

/// Names sums of packed arrays where kernels are declared.
struct Accumulate {};

/// Blocks of a GPU's memory, which a pool keeps, so that a steady step takes nothing from the driver (see
/// MemoryPool). Data is aligned to 512 bytes. `copy` takes pointers of the device or the host; it waits where
/// the host's memory is written.
template <>
struct Memory<Cuda> {
    /// Throws CudaError where memory does not suffice: how much was asked for, and how much there is.
    static MemoryBlock* allocate(std::size_t bytes) { return pool().take(bytes); }

    template <class T>
    static void fill(T* to, std::int64_t count, T value) {
        if (count == 0) return;
        const auto* bytes = reinterpret_cast<const unsigned char*>(&value);
        if (std::all_of(bytes, bytes + sizeof(T), [&](unsigned char byte) { return byte == bytes[0]; })) {
            fill_bytes(to, bytes[0], static_cast<std::size_t>(count) * sizeof(T));
            return;
        }
        // The first elements byte by byte, beginning with the commonest; then these are copied on. Nothing is
        // read from the host's memory.
        std::int64_t done = std::min<std::int64_t>(count, 1024);
        const unsigned char common = *std::max_element(bytes, bytes + sizeof(T), [&](auto a, auto b) {
            return std::count(bytes, bytes + sizeof(T), a) < std::count(bytes, bytes + sizeof(T), b);
        });
        fill_bytes(to, common, static_cast<std::size_t>(done) * sizeof(T));
        for (std::size_t i = 0; i < sizeof(T); ++i)
            if (bytes[i] != common)
                cuda::check(cudaMemset2DAsync(reinterpret_cast<unsigned char*>(to) + i, sizeof(T), bytes[i],
                                              1, static_cast<std::size_t>(done), cuda::current_stream()),
                            "cudaMemset2DAsync");
        for (; done < count; done *= 2) copy(to, std::min(done, count - done), to + done);
    }

    template <class T>
    static void copy(const T* from, std::int64_t count, T* to) {
        copy_bytes(from, static_cast<std::size_t>(count) * sizeof(T), to);
    }

    template <class T>
    static void add(const T* from, std::int64_t count, T* to) {
        Kernel<AccumulateOf<T>, Cuda>::run(from, count, to, true);
    }
    /// Writes elements to a wider type, or adds them.
    template <class T, class Wide>
    static void widen(const T* from, std::int64_t count, Wide* to, bool accumulate) {
        Kernel<AccumulateOf<T>, Cuda>::run(from, count, to, accumulate);
    }

    static std::size_t reserved_bytes() { return pool().reserved(); }
    static std::size_t used_bytes() { return pool().used(); }
    /// The greatest number of bytes that were in use at once since the last `reset_peak`.
    static std::size_t peak_bytes() { return pool().peak(); }
    static void reset_peak() { pool().reset_peak(); }

    /// Gives waiting blocks back to the driver, but for those of graphs.
    static void trim() { pool().trim(); }

    /// Makes blocks that were a reserve's everybody's again, each on the stream that it was made for.
    static void close(cuda::MemoryReserve& reserve) { pool().close(reserve); }

private:
    // Dependent, so that files which never sum need no kernel.
    template <class T>
    using AccumulateOf = std::conditional_t<sizeof(T) != 0, Accumulate, void>;

    static void fill_bytes(void* to, unsigned char value, std::size_t bytes) {
        cuda::check(cudaMemsetAsync(to, value, bytes, cuda::current_stream()), "cudaMemsetAsync");
    }

    static void copy_bytes(const void* from, std::size_t bytes, void* to) {
        if (bytes == 0) return;
        cudaPointerAttributes target{}, source{};
        cuda::check(cudaPointerGetAttributes(&target, to), "cudaPointerGetAttributes");
        cuda::check(cudaPointerGetAttributes(&source, from), "cudaPointerGetAttributes");
        if (cuda::detail::selected_reserve &&
            (target.type != cudaMemoryTypeDevice || source.type != cudaMemoryTypeDevice))
            throw CudaError(
                "copy: expected memory of the GPU while work is captured in a graph, got the host's, which "
                "each replay would read or write again");
        cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cuda::current_stream()),
                    "cudaMemcpyAsync");
        // Ordinary memory of the host has been read when the call returns; pinned memory may be read later.
        const bool writes_host = target.type != cudaMemoryTypeDevice,
                   reads_pinned = source.type == cudaMemoryTypeHost;
        if (writes_host || reads_pinned) cuda::synchronize();
    }

    static cuda::MemoryPool& pool() { return cuda::MemoryPool::instance(); }
};

}  // namespace tenon
