#pragma once

namespace tenon::cuda {

/// Barriers of some of a block's warps, numbered from 1 (0 is __syncthreads). `threads` are those of all who
/// wait or arrive.
template <int number, int threads>
__device__ __forceinline__ void wait_at_barrier() {
    asm volatile("bar.sync %0, %1;" ::"n"(number), "n"(threads) : "memory");
}
/// Arrives and goes on.
template <int number, int threads>
__device__ __forceinline__ void arrive_at_barrier() {
    asm volatile("bar.arrive %0, %1;" ::"n"(number), "n"(threads) : "memory");
}

/// Gives registers back, for other warps of the block to take: each thread keeps `count`. Four warps in a row
/// do so together.
template <int count>
__device__ __forceinline__ void give_registers() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
#endif
}
/// Waits for registers that others give, until each thread has `count`.
template <int count>
__device__ __forceinline__ void take_registers() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
#endif
}

}  // namespace tenon::cuda
