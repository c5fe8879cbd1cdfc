#pragma once

#include <cstdint>

namespace tenon::cuda {

/// The address of something in shared memory, as instructions take it.
__device__ __forceinline__ std::uint32_t shared_address(const void* data) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(data));
}

/// Starts a copy of 16 bytes into shared memory, past the registers; of zeros where there is nothing to copy,
/// when `from` is not read.
__device__ __forceinline__ void copy_async(std::uint32_t to, const void* from, bool exists) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to),
                 "l"(__cvta_generic_to_global(from)), "r"(exists ? 16 : 0)
                 : "memory");
}

/// The same of 8 bytes.
__device__ __forceinline__ void copy_async_8(std::uint32_t to, const void* from, bool exists) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to),
                 "l"(__cvta_generic_to_global(from)), "r"(exists ? 8 : 0)
                 : "memory");
}

/// The copies that this thread started since its last call become one group.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until all but this thread's last `pending` groups have arrived; a barrier then shows them to others.
template <int pending>
__device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

}  // namespace tenon::cuda
