#pragma once

#include <tenon/core/normal.hpp>

namespace tenon::cuda {

/// A float whose functions are the GPU's fast ones, right to about 2^-11: as good as exact where all that is
/// read and written has 16 bits.
struct Approximate {
    using Scalar = float;
    float value;

    Approximate() = default;
    __device__ __forceinline__ Approximate(float number) : value(number) {}
    __device__ __forceinline__ explicit Approximate(double number) : value(static_cast<float>(number)) {}
    __device__ __forceinline__ explicit Approximate(int number) : value(static_cast<float>(number)) {}
    __device__ __forceinline__ explicit operator float() const { return value; }

    friend __device__ __forceinline__ Approximate operator+(Approximate a, Approximate b) {
        return a.value + b.value;
    }
    friend __device__ __forceinline__ Approximate operator-(Approximate a, Approximate b) {
        return a.value - b.value;
    }
    friend __device__ __forceinline__ Approximate operator*(Approximate a, Approximate b) {
        return a.value * b.value;
    }
    friend __device__ __forceinline__ Approximate operator/(Approximate a, Approximate b) {
        return __fdividef(a.value, b.value);
    }
    friend __device__ __forceinline__ Approximate operator-(Approximate a) { return -a.value; }
    friend __device__ __forceinline__ bool operator<(Approximate a, Approximate b) {
        return a.value < b.value;
    }
    friend __device__ __forceinline__ bool operator>(Approximate a, Approximate b) {
        return a.value > b.value;
    }
    friend __device__ __forceinline__ bool operator<=(Approximate a, Approximate b) {
        return a.value <= b.value;
    }
    friend __device__ __forceinline__ bool operator>=(Approximate a, Approximate b) {
        return a.value >= b.value;
    }
    friend __device__ __forceinline__ bool operator==(Approximate a, Approximate b) {
        return a.value == b.value;
    }
    friend __device__ __forceinline__ bool operator!=(Approximate a, Approximate b) {
        return a.value != b.value;
    }

    // What `core/math.hpp` has for floats; found by the functors through their argument, and by nothing else.
    // Numbers below the least normal one count as 0 in some.
    friend __device__ __forceinline__ Approximate exp(Approximate x) {
        return power_of_2(x.value * 1.44269504f);
    }
    friend __device__ __forceinline__ Approximate log(Approximate x) { return __logf(x.value); }
    friend __device__ __forceinline__ Approximate sqrt(Approximate x) { return __fsqrt_rn(x.value); }
    friend __device__ __forceinline__ Approximate tanh(Approximate x) {
        float result;
        asm("tanh.approx.f32 %0, %1;" : "=f"(result) : "f"(x.value));
        return result;
    }
    friend __device__ __forceinline__ Approximate sin(Approximate x) { return sinf(x.value); }
    friend __device__ __forceinline__ Approximate cos(Approximate x) { return cosf(x.value); }
    friend __device__ __forceinline__ Approximate abs(Approximate x) { return fabsf(x.value); }
    friend __device__ __forceinline__ Approximate reciprocal(Approximate x) {
        float result;
        asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x.value));
        return result;
    }
    friend __device__ __forceinline__ Approximate rsqrt(Approximate x) { return rsqrtf(x.value); }
    friend __device__ __forceinline__ Approximate min(Approximate a, Approximate b) {
        float result;
        asm("min.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a.value), "f"(b.value));
        return result;
    }
    friend __device__ __forceinline__ Approximate max(Approximate a, Approximate b) {
        float result;
        asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a.value), "f"(b.value));
        return result;
    }
    friend __device__ __forceinline__ Approximate fma(Approximate a, Approximate b, Approximate c) {
        return fmaf(a.value, b.value, c.value);
    }
    friend __device__ __forceinline__ Approximate select(bool condition, Approximate yes, Approximate no) {
        return condition ? yes : no;
    }
    /// Right to 2^-13: exp(-z² / 2) times a polynomial in 1 / (z + 3.5), fitted over z <= 13.5.
    friend __device__ __forceinline__ NormalTail<Approximate> normal_tail(Approximate z) {
        constexpr double coefficient[] = {1.10808039e-3, 0.346446030, 2.33879904, -3.46833751, 43.4965246};
        const Approximate power = power_of_2(z.value * z.value * -0.721347520f);
        return {0.398942280f * power.value,
                power * tenon::detail::polynomial(coefficient, reciprocal(z + Approximate(3.5f)))};
    }

private:
    __device__ __forceinline__ static Approximate power_of_2(float x) {
        float result;
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
        return result;
    }
};

}  // namespace tenon::cuda
