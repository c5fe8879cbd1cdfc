#pragma once

namespace tenon::cuda {

/// Takes turns across the blocks of one launch, so that sums in memory have a set order: a warp waits until
/// `turn`, which starts as 0, has come to its number. It sees all that was written before that. Blocks must
/// start in an order in which nobody waits for a later one: see `ticket`.
__device__ __forceinline__ void wait_for_turn(const unsigned* turn, unsigned number) {
    if (threadIdx.x % 32 == 0) {
        unsigned now;
        do {
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(turn) : "memory");
        } while (now != number);
    }
    __syncwarp();
}

/// Says that it is turn `number`. All that the warp has written can be seen by then: it waits for that, and
/// some 1000 cycles in any case.
__device__ __forceinline__ void pass_turn(unsigned* turn, unsigned number) {
    __syncwarp();
    if (threadIdx.x % 32 == 0)
        asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(turn), "r"(number) : "memory");
}

/// Adds four numbers to those in memory, without waiting for it. By turns, the order of such sums is set.
__device__ __forceinline__ void add_in_memory(float4* to, const float (&numbers)[4]) {
#if __CUDA_ARCH__ >= 900
    asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(numbers[0]),
                 "f"(numbers[1]), "f"(numbers[2]), "f"(numbers[3])
                 : "memory");
#else
    for (int i = 0; i < 4; ++i)
        asm volatile("red.relaxed.gpu.global.add.f32 [%0], %1;" ::"l"(&to->x + i), "f"(numbers[i])
                     : "memory");
#endif
}

/// The number of a block in the order in which blocks really start. `count` starts as 0.
__device__ __forceinline__ unsigned ticket(unsigned* count) {
    __shared__ unsigned own;
    if (threadIdx.x == 0) own = atomicAdd(count, 1);
    __syncthreads();
    return own;
}

}  // namespace tenon::cuda
