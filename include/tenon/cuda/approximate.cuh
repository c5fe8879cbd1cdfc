#pragma once

#include <concepts>

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
    friend __device__ __forceinline__ Approximate exp(Approximate x) { return __expf(x.value); }
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
        return __fdividef(1.0f, x.value);
    }
    friend __device__ __forceinline__ Approximate rsqrt(Approximate x) { return rsqrtf(x.value); }
    friend __device__ __forceinline__ Approximate min(Approximate a, Approximate b) {
        return b < a || b != b ? b : a;
    }
    friend __device__ __forceinline__ Approximate max(Approximate a, Approximate b) {
        return a < b || b != b ? b : a;
    }
    friend __device__ __forceinline__ Approximate fma(Approximate a, Approximate b, Approximate c) {
        return fmaf(a.value, b.value, c.value);
    }
    friend __device__ __forceinline__ Approximate select(bool condition, Approximate yes, Approximate no) {
        return condition ? yes : no;
    }
};

}  // namespace tenon::cuda
