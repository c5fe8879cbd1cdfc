#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cuda_fp8.h>
#include <string>

#include <tenon/core/error.hpp>
#include <tenon/cuda/cublaslt.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>

namespace tenon::cuda {

/// 8-bit floats (Micikevicius et al. 2022, "FP8 Formats for Deep Learning"): 3 bits of significand and values
/// up to 448, for weights and activations, or 2 bits and values up to 57,344, for gradients.
enum class Float8 { e4m3, e5m2 };

/// A matrix [rows, columns] in 8 bits, packed: an element is what is stored times the scale, which lies in
/// the GPU's memory.
struct Float8Matrix {
    Storage storage;
    Float8 format = Float8::e4m3;
    std::int64_t rows = 0, columns = 0;

    const float* scale() const { return static_cast<const float*>(storage.data()); }
    std::uint8_t* data() const { return static_cast<std::uint8_t*>(storage.data()) + header; }
    MatrixOperand operand() const {
        return {data(), format == Float8::e4m3 ? CUDA_R_8F_E4M3 : CUDA_R_8F_E5M2, columns, 1};
    }

    /// Bytes before the elements: the scale.
    static constexpr std::int64_t header = 256;
};

/// The greatest magnitude of `count` numbers, as the bits of a float, which for such are ordered like it: any
/// order of the maxima gives the same.
template <class T>
__global__ void __launch_bounds__(256)
    greatest_magnitude(const T* x, std::int64_t count, unsigned* greatest) {
    __shared__ float scratch[warp_size];
    float own = 0;
    for (std::int64_t at = std::int64_t{blockIdx.x} * 256 + threadIdx.x; at < count;
         at += std::int64_t{gridDim.x} * 256)
        own = fmaxf(own, fabsf(convert<float>(x[at])));
    own = reduce_block(own, Maximum(), scratch);
    if (threadIdx.x == 0) atomicMax(greatest, __float_as_uint(own));
}

/// Scales numbers so that the greatest becomes the format's, and rounds them; `transposed` [columns, rows] is
/// written too unless it is null. A block moves a tile of 32 x 32.
template <class T>
__global__ void __launch_bounds__(256)
    round_to_float8(const T* x, std::int64_t rows, std::int64_t columns, const unsigned* greatest,
                    float limit, __nv_fp8_interpretation_t format, float* scale, std::uint8_t* to,
                    float* transposed_scale, std::uint8_t* transposed) {
    __shared__ std::uint8_t tile[32][33];
    const float most = __uint_as_float(*greatest), factor = most > 0 ? limit / most : 1.0f;
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        *scale = 1 / factor;
        if (transposed) *transposed_scale = 1 / factor;
    }
    const std::int64_t across = (columns + 31) / 32;
    const std::int64_t first_row = blockIdx.x / across * 32, first_column = blockIdx.x % across * 32;
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    for (int i = warp; i < 32; i += 8) {
        const std::int64_t row = first_row + i, column = first_column + lane;
        if (row >= rows || column >= columns) continue;
        const std::uint8_t bits =
            __nv_cvt_float_to_fp8(convert<float>(x[row * columns + column]) * factor, __NV_SATFINITE, format);
        to[row * columns + column] = bits;
        tile[i][lane] = bits;
    }
    if (!transposed) return;
    __syncthreads();
    for (int i = warp; i < 32; i += 8) {
        const std::int64_t row = first_row + lane, column = first_column + i;
        if (row < rows && column < columns) transposed[column * rows + row] = tile[lane][i];
    }
}

/// A matrix in 8 bits, scaled by its own greatest magnitude, and unless null its transpose.
template <class T>
Float8Matrix to_float8(const T* x, std::int64_t rows, std::int64_t columns, Float8 format,
                       Float8Matrix* transposed = nullptr) {
    const auto create = [&](std::int64_t down, std::int64_t across) {
        return Float8Matrix{
            Storage(Memory<Cuda>::allocate(static_cast<std::size_t>(Float8Matrix::header + down * across))),
            format, down, across};
    };
    const Float8Matrix result = create(rows, columns);
    if (transposed) *transposed = create(columns, rows);
    const Storage greatest(Memory<Cuda>::allocate(sizeof(unsigned)));
    auto* const bits = static_cast<unsigned*>(greatest.data());
    Memory<Cuda>::fill(bits, 1, 0u);
    const std::int64_t count = rows * columns;
    launch(greatest_magnitude<T>, {blocks_for(count, 2048, 1024), 256}, x, count, bits);
    const bool is_e4m3 = format == Float8::e4m3;
    launch(round_to_float8<T>, {blocks_for((rows + 31) / 32 * ((columns + 31) / 32), 1, 0x7fffffff), 256}, x,
           rows, columns, bits, is_e4m3 ? 448.0f : 57344.0f, is_e4m3 ? __NV_E4M3 : __NV_E5M2,
           static_cast<float*>(result.storage.data()), result.data(),
           transposed ? static_cast<float*>(transposed->storage.data()) : nullptr,
           transposed ? transposed->data() : nullptr);
    return result;
}

/// c [rows, columns] = a b, or added to c, of a [rows, depth] and b transposed, [columns, depth]; sums are of
/// f32. At most one factor is e5m2. Throws Error for what the GPU's units do not take: a depth or a number of
/// columns that is no multiple of 16, or a GPU before compute capability 8.9.
template <class T>
void multiply_float8(const Float8Matrix& a, const Float8Matrix& b_transposed, T* c, bool accumulate = false) {
    const MatmulExtents extents{1, a.rows, b_transposed.rows, a.columns};
    if (!multiply(extents, a.operand(), b_transposed.operand().transposed(),
                  {c, data_type_of<T>, extents.columns, 1},
                  {accumulate, 1, nullptr, nullptr, a.scale(), b_transposed.scale()}))
        throw Error("fp8 matrix product: [" + std::to_string(a.rows) + ", " + std::to_string(a.columns) +
                    "] x [" + std::to_string(b_transposed.rows) + ", " +
                    std::to_string(b_transposed.columns) + "] transposed is not supported on this GPU");
}

}  // namespace tenon::cuda
