#pragma once

#include <concepts>
#include <cstdint>

#include <tenon/core/element.hpp>

/// The instructions of the tensor cores of sm_80 and later, a warp's: products of 16 x 16 by 16 x 8 numbers
/// of 16 bits, summed in float.
namespace tenon::cuda {

/// Four 8 x 8 matrices of 16-bit numbers from shared memory: lane l names row l % 8 of matrix l / 8, 16
/// bytes. Each lane gets two neighbours of row lane / 4, or with `transposed` of column lane / 4, of each
/// matrix.
template <bool transposed>
__device__ __forceinline__ void load_matrices(std::uint32_t row, std::uint32_t (&to)[4]) {
    if constexpr (transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(row)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(row)
                     : "memory");
}

/// Writes what `load_matrices`, not transposed, would read. Of sm_90 and later.
__device__ __forceinline__ void store_matrices(std::uint32_t row, const std::uint32_t (&from)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(from[0]),
                 "r"(from[1]), "r"(from[2]), "r"(from[3])
                 : "memory");
}
/// Writes two neighbours to shared memory.
__device__ __forceinline__ void store_pair(std::uint32_t to, float first, float second) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(first), "f"(second) : "memory");
}

/// sums += left right, of 16 x 16 and 16 x 8 elements of type T.
template <class T>
__device__ __forceinline__ void multiply_add(float (&sums)[4], const std::uint32_t (&left)[4],
                                             std::uint32_t right0, std::uint32_t right1) {
    if constexpr (std::same_as<T, bf16>)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, "
            "%9}, "
            "{%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right0), "r"(right1));
}

/// Two numbers rounded to T, the first in the lower half.
template <class T>
__device__ __forceinline__ std::uint32_t rounded_pair(float first, float second) {
    std::uint32_t pair;
    if constexpr (std::same_as<T, bf16>)
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    else
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}

/// 2^x, to 2 ulp.
__device__ __forceinline__ float power_of_two(float x) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

}  // namespace tenon::cuda
