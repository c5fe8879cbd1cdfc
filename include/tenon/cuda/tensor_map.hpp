#pragma once

#include <concepts>
#include <cstdint>
#include <cudaTypedefs.h>
#include <string>

#include <tenon/core/element.hpp>
#include <tenon/cuda/error.hpp>

namespace tenon::cuda {

/// A packed or strided row-major matrix of bf16 or float as the bulk copy engine of sm_90 sees it: boxes of
/// `box_rows` x 128 bytes, whose 16-byte chunks are permuted in shared memory as those of a `SharedTile` of
/// that width are. What a box has outside the matrix is read as 0, and not written. `data` is aligned to 16
/// bytes, as `stride` elements are.
template <class T>
CUtensorMap tensor_map(const T* data, std::int64_t rows, std::int64_t columns, std::int64_t stride,
                       int box_rows) {
    // Of the driver, which nothing is linked against.
    static const auto encode = [] {
        void* found = nullptr;
        cudaDriverEntryPointQueryResult result{};
        check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault,
                                               &result),
              "cudaGetDriverEntryPointByVersion");
        if (result != cudaDriverEntryPointSuccess || !found)
            throw CudaError("expected a driver that has cuTensorMapEncodeTiled, found none");
        return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(found);
    }();
    const cuuint64_t extents[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)},
                     strides[1] = {static_cast<cuuint64_t>(stride) * sizeof(T)};
    const cuuint32_t box[2] = {128 / sizeof(T), static_cast<cuuint32_t>(box_rows)}, steps[2] = {1, 1};
    static_assert(std::same_as<T, bf16> || std::same_as<T, float>);
    constexpr auto type =
        std::same_as<T, bf16> ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    CUtensorMap map;
    const CUresult status = encode(&map, type, 2, const_cast<T*>(data), extents, strides, box, steps,
                                   CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                   CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (status != CUDA_SUCCESS)
        throw CudaError("cuTensorMapEncodeTiled: error " + std::to_string(static_cast<int>(status)) +
                        " for a matrix of " + std::to_string(rows) + " x " + std::to_string(columns) +
                        " in steps of " + std::to_string(stride));
    return map;
}

}  // namespace tenon::cuda
