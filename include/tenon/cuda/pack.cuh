#pragma once

#include <cstdint>

#include <tenon/autograd/tape.hpp>
#include <tenon/core/element.hpp>

namespace tenon::cuda {

/// N neighbouring elements that move as one access, or several of 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
    T element[N];
};

/// A number rounded to an element's type, as `convert` does, by the instruction for it.
template <class T, class C>
__device__ __forceinline__ T rounded(C value) {
    if constexpr (std::same_as<T, bf16> && std::same_as<C, float>) {
        unsigned short bits;
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
        return __builtin_bit_cast(bf16, bits);
    } else if constexpr (std::same_as<T, f16> && std::same_as<C, float>) {
        unsigned short bits;
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
        return __builtin_bit_cast(f16, bits);
    } else {
        return convert<T>(value);
    }
}

namespace detail {

/// Two neighbouring numbers of 16 bits in one register, as f32: an instruction each.
template <class T>
__device__ __forceinline__ void widen_pair(std::uint32_t pair, float& first, float& second) {
    if constexpr (std::same_as<T, bf16>) {
        first = __uint_as_float(pair << 16);
        second = __uint_as_float(pair & 0xffff0000u);
    } else {
        asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b; }"
            : "=f"(first), "=f"(second)
            : "r"(pair));
    }
}

/// The reverse, each rounded once: one instruction.
template <class T>
__device__ __forceinline__ std::uint32_t round_pair(float first, float second) {
    std::uint32_t pair;
    if constexpr (std::same_as<T, bf16>)
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    else
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}

}  // namespace detail

/// The elements of a pack in the type of computation.
template <class C, int N, class T>
__device__ __forceinline__ void unpack(const Pack<T, N>& pack, C (&values)[N]) {
    if constexpr (is_half<T> && std::same_as<C, float> && N % 2 == 0) {
        const auto pairs = __builtin_bit_cast(Pack<std::uint32_t, N / 2>, pack);
#pragma unroll
        for (int i = 0; i < N; i += 2) detail::widen_pair<T>(pairs.element[i / 2], values[i], values[i + 1]);
    } else {
#pragma unroll
        for (int i = 0; i < N; ++i) values[i] = convert<C>(pack.element[i]);
    }
}

/// A Pack as it is, to be kept in registers: in words, which the compiler does not take apart.
template <class T, int N>
using PackBits = Pack<std::uint32_t, static_cast<int>(sizeof(T)) * N / 4>;

/// Reads N elements as they are. `from` is aligned as Pack<T, N> is.
template <int N, class T>
__device__ __forceinline__ PackBits<T, N> load_bits(const T* from) {
    return *reinterpret_cast<const PackBits<T, N>*>(from);
}

/// The elements of a kept pack of T.
template <class T, class C, int N>
__device__ __forceinline__ void unpack_bits(const PackBits<T, N>& bits, C (&values)[N]) {
    unpack(__builtin_bit_cast(Pack<T, N>, bits), values);
}

/// Reads N elements, in the type of computation. `from` is aligned as Pack<T, N> is.
template <class C, int N, class T>
__device__ __forceinline__ void load(const T* from, C (&values)[N]) {
    const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
    unpack(pack, values);
}

/// Writes N elements, each rounded once.
template <class C, int N, class T>
__device__ __forceinline__ void store(const C (&values)[N], T* to) {
    if constexpr (is_half<T> && std::same_as<C, float> && N % 2 == 0) {
        Pack<std::uint32_t, N / 2> pairs;
#pragma unroll
        for (int i = 0; i < N; i += 2) pairs.element[i / 2] = detail::round_pair<T>(values[i], values[i + 1]);
        *reinterpret_cast<Pack<T, N>*>(to) = __builtin_bit_cast(Pack<T, N>, pairs);
    } else {
        Pack<T, N> pack;
#pragma unroll
        for (int i = 0; i < N; ++i) pack.element[i] = rounded<T>(values[i]);
        *reinterpret_cast<Pack<T, N>*>(to) = pack;
    }
}

/// Writes N elements of a gradient from element number `at` on, or adds to what is there.
template <class C, int N, class G>
__device__ __forceinline__ void contribute(const Contribution<G>& to, std::int64_t at, const C (&values)[N]) {
    const auto write = [&](auto* target) {
        if (to.accumulate) {
            C sums[N];
            load(target, sums);
#pragma unroll
            for (int i = 0; i < N; ++i) sums[i] += values[i];
            store(sums, target);
        } else {
            store(values, target);
        }
    };
    if constexpr (is_half<G>) {
        if (to.wide) return write(to.wide + at);
    }
    write(to.data + at);
}

/// The same of one element.
template <class C, class G>
__device__ __forceinline__ void contribute(const Contribution<G>& to, std::int64_t at, C value) {
    const C one[1] = {value};
    contribute<C, 1>(to, at, one);
}

/// Whether N elements at each of these addresses may move as one Pack.
template <int N, class T>
bool is_aligned(const T* data) {
    return reinterpret_cast<std::uintptr_t>(data) % alignof(Pack<T, N>) == 0;
}

}  // namespace tenon::cuda
