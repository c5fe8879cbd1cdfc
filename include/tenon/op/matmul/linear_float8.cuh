#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <tenon/autograd/cuda.cuh>
#include <tenon/core/error.hpp>
#include <tenon/cuda/cublaslt.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/op/matmul/linear_float8.hpp>

namespace tenon {
namespace cuda {

/// The greatest magnitude of `count` numbers, as the bits of a float, which for such are ordered like it: any
/// order of the maxima gives the same.
template <class T>
__global__ void __launch_bounds__(256)
    greatest_magnitude(const T* x, std::int64_t count, unsigned* greatest) {
    constexpr int N = 16 / sizeof(T);
    __shared__ float scratch[warp_size];
    float own = 0;
    for (std::int64_t at = (std::int64_t{blockIdx.x} * 256 + threadIdx.x) * N; at < count;
         at += std::int64_t{gridDim.x} * 256 * N) {
        float values[N];
        load(x + at, values);
#pragma unroll
        for (const float value : values) own = fmaxf(own, fabsf(value));
    }
    own = reduce_block(own, Maximum(), scratch);
    if (threadIdx.x == 0) atomicMax(greatest, __float_as_uint(own));
}

/// `to_float8` by the GPU's own instruction, where it has one.
__device__ __forceinline__ std::uint8_t round_to_float8(float value, Float8 format) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    unsigned short pair;
    if (format == Float8::e4m3)
        asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(value));
    else
        asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(value));
    return static_cast<std::uint8_t>(pair);
#else
    return to_float8(value, format);
#endif
}

/// Scales numbers so that the greatest becomes the format's, and rounds them; `transposed` [columns, rows] is
/// written too unless it is null. Extents are multiples of 16. A block moves a tile of 64 x 64, a thread 16
/// bytes of it at a time.
template <class T>
__global__ void __launch_bounds__(256)
    round_matrix(const T* x, std::int64_t rows, std::int64_t columns, const unsigned* greatest, Float8 format,
                 float* scale, std::uint8_t* to, float* transposed_scale, std::uint8_t* transposed) {
    constexpr int tile = 64, N = 16, chunks = tile / N;
    __shared__ std::uint8_t codes[tile][tile + 4];
    const float most = __uint_as_float(*greatest), factor = most > 0 ? maximum_of(format) / most : 1.0f;
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        *scale = 1 / factor;
        if (transposed) *transposed_scale = 1 / factor;
    }
    const std::int64_t across = (columns + tile - 1) / tile;
    const std::int64_t first_row = blockIdx.x / across * tile, first_column = blockIdx.x % across * tile;
    const int line = static_cast<int>(threadIdx.x) / chunks,
              chunk = static_cast<int>(threadIdx.x) % chunks * N;
    const auto store = [](std::uint8_t* at, const std::uint8_t(&values)[N]) {
        std::uint32_t words[N / 4] = {};
#pragma unroll
        for (int i = 0; i < N; ++i) words[i / 4] |= std::uint32_t{values[i]} << (i % 4 * 8);
        *reinterpret_cast<uint4*>(at) = make_uint4(words[0], words[1], words[2], words[3]);
    };
    if (first_row + line < rows && first_column + chunk < columns) {
        const std::int64_t at = (first_row + line) * columns + first_column + chunk;
        std::uint8_t own[N];
#pragma unroll
        for (int part = 0; part < N; part += 16 / static_cast<int>(sizeof(T))) {
            float values[16 / sizeof(T)];
            load(x + at + part, values);
#pragma unroll
            for (int i = 0; i < 16 / static_cast<int>(sizeof(T)); ++i)
                own[part + i] = round_to_float8(values[i] * factor, format);
        }
        store(to + at, own);
#pragma unroll
        for (int i = 0; i < N; ++i) codes[line][chunk + i] = own[i];
    }
    if (!transposed) return;
    __syncthreads();
    if (first_column + line < columns && first_row + chunk < rows) {
        std::uint8_t own[N];
#pragma unroll
        for (int i = 0; i < N; ++i) own[i] = codes[chunk + i][line];
        store(transposed + (first_column + line) * rows + first_row + chunk, own);
    }
}

/// c [rows, columns] of a [rows, depth] and b transposed, [columns, depth]; at most one factor is e5m2.
/// Throws Error where the GPU has no such products.
inline void multiply_float8(const tenon::detail::Float8Matrix& a,
                            const tenon::detail::Float8Matrix& b_transposed, void* c, cudaDataType_t type,
                            MultiplyOptions options) {
    const auto operand = [](const tenon::detail::Float8Matrix& matrix) {
        return MatrixOperand{matrix.data(), matrix.format == Float8::e4m3 ? CUDA_R_8F_E4M3 : CUDA_R_8F_E5M2,
                             matrix.columns, 1};
    };
    const MatmulExtents extents{1, a.rows, b_transposed.rows, a.columns};
    options.a_scale = a.scale();
    options.b_scale = b_transposed.scale();
    if (!multiply(extents, operand(a), operand(b_transposed).transposed(), {c, type, extents.columns, 1},
                  options))
        throw Error(
            "fp8 matrix product: expected a GPU of compute capability 8.9 or later, which has products of 8 "
            "bits, got [" +
            std::to_string(a.rows) + ", " + std::to_string(a.columns) + "] x [" +
            std::to_string(b_transposed.rows) + ", " + std::to_string(b_transposed.columns) +
            "] transposed on one that has not");
}

}  // namespace cuda

template <>
struct Kernel<LinearFloat8, Cuda> {
    template <class T>
    static detail::Float8Pair round(const T* x, std::int64_t rows, std::int64_t columns, Float8 format,
                                    bool transposes) {
        detail::Float8Pair pair{detail::Float8Matrix::create<Cuda>(format, rows, columns), {}};
        if (transposes) pair.transposed = detail::Float8Matrix::create<Cuda>(format, columns, rows);
        const Storage greatest(Memory<Cuda>::allocate(sizeof(unsigned)));
        auto* const bits = static_cast<unsigned*>(greatest.data());
        Memory<Cuda>::fill(bits, 1, 0u);
        const std::int64_t count = rows * columns;
        cuda::launch(cuda::greatest_magnitude<T>, {cuda::blocks_for(count, 256 * 32, 1024), 256}, x, count,
                     bits);
        const std::int64_t tiles = (rows + 63) / 64 * ((columns + 63) / 64);
        cuda::launch(cuda::round_matrix<T>, {cuda::blocks_for(tiles, 1, 0x7fffffff), 256}, x, rows, columns,
                     static_cast<const unsigned*>(bits), format, pair.matrix.scale(), pair.matrix.data(),
                     transposes ? pair.transposed.scale() : nullptr,
                     transposes ? pair.transposed.data() : nullptr);
        return pair;
    }

    template <class T>
    static void forward(const detail::Float8Matrix& a, const detail::Float8Matrix& b_transposed, T* c,
                        const detail::ProductAddends<T>& addends) {
        cuda::MultiplyOptions options;
        options.bias = addends.bias;
        options.addend = addends.addend;
        cuda::multiply_float8(a, b_transposed, c, cuda::data_type_of<T>, options);
    }

    template <class T>
    static void multiply(const detail::Float8Matrix& a, const detail::Float8Matrix& b_transposed,
                         const Contribution<T>& c) {
        cuda::MultiplyOptions options;
        options.accumulate = c.accumulate;
        if (c.wide)
            cuda::multiply_float8(a, b_transposed, c.wide, cuda::data_type_of<ComputeOf<T>>, options);
        else
            cuda::multiply_float8(a, b_transposed, c.data, cuda::data_type_of<T>, options);
    }
};

}  // namespace tenon
