#pragma once

#include <new>
#include <string>

#include <tenon/core/host_device.hpp>
#include <tenon/cuda/stream.hpp>

namespace tenon::cuda {

/// A number that a kernel found out of its range: kernels cannot throw, so the first is kept here until the
/// host next waits for the device.
struct Fault {
    int is_set = 0;
    int* lock = nullptr;             // in the GPU's memory, whose atomics do not reach the host's
    const char* expected = nullptr;  // the host's: "embedding: expected ids below"
    long long limit = 0, value = 0, position = 0;
};

/// The process's fault, in memory of the host that kernels may write.
inline Fault* fault() {
    static Fault* const instance = [] {
        void* memory = nullptr;
        check(cudaHostAlloc(&memory, sizeof(Fault), cudaHostAllocMapped | cudaHostAllocPortable),
              "cudaHostAlloc");
        auto* const made = new (memory) Fault;
        check(cudaMalloc(reinterpret_cast<void**>(&made->lock), sizeof(int)), "cudaMalloc");
        check(cudaMemset(made->lock, 0, sizeof(int)), "cudaMemset");
        return made;
    }();
    return instance;
}

/// Throws Error for a fault that was found, and forgets it. To be called when the device has been waited for.
inline void throw_fault() {
    Fault& found = *fault();
    if (!*static_cast<volatile int*>(&found.is_set)) return;
    const std::string message = std::string(found.expected) + " " + std::to_string(found.limit) + ", got " +
                                std::to_string(found.value) + " at position " +
                                std::to_string(found.position);
    found.is_set = 0;
    check(cudaMemset(found.lock, 0, sizeof(int)), "cudaMemset");
    throw Error(message);
}

/// Waits for all work of this thread's stream. Throws CudaError where it failed, Error where a kernel found a
/// number out of its range.
inline void synchronize() {
    check(cudaStreamSynchronize(current_stream()), "cudaStreamSynchronize");
    throw_fault();
}

#ifdef __CUDACC__
/// Keeps a fault, unless one is kept already.
__device__ inline void report_fault(Fault* to, const char* expected, long long limit, long long value,
                                    long long position) {
    if (atomicCAS(to->lock, 0, 1) != 0) return;
    to->expected = expected;
    to->limit = limit;
    to->value = value;
    to->position = position;
    __threadfence_system();
    *static_cast<volatile int*>(&to->is_set) = 1;
}
#endif

}  // namespace tenon::cuda
