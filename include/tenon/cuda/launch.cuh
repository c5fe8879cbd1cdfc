#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

#include <tenon/cuda/device.hpp>
#include <tenon/cuda/stream.hpp>

namespace tenon::cuda {

/// The blocks and threads of a launch, and its dynamic shared memory. It knows where it was written, for
/// messages.
struct Grid {
    dim3 blocks, threads;
    std::size_t shared_bytes = 0;
    unsigned cluster = 1;  // so many blocks in a row run together
    std::source_location place = std::source_location::current();
};

/// Launches a kernel on this thread's stream; nothing for an empty grid. Throws CudaError that names the
/// place of the launch.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, Arguments&&... arguments) {
    if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
    if (grid.shared_bytes > (std::size_t{32} << 10))  // a kernel's static memory counts towards its 48 KiB
        check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(grid.shared_bytes)),
              "cudaFuncSetAttribute", grid.place);
    if (grid.cluster == 1) {
        kernel<<<grid.blocks, grid.threads, grid.shared_bytes, current_stream()>>>(
            static_cast<Parameters>(arguments)...);
        return check(cudaGetLastError(), "kernel launch", grid.place);
    }
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = grid.cluster;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t configuration{};
    configuration.gridDim = grid.blocks;
    configuration.blockDim = grid.threads;
    configuration.dynamicSmemBytes = grid.shared_bytes;
    configuration.stream = current_stream();
    configuration.attrs = &attribute;
    configuration.numAttrs = 1;
    check(cudaLaunchKernelEx(&configuration, kernel, static_cast<Parameters>(arguments)...),
          "cudaLaunchKernelEx", grid.place);
}

/// Blocks for `count` items at `each` a block, at most `most`; kernels stride on from there.
inline unsigned blocks_for(std::int64_t count, std::int64_t each, std::int64_t most = std::int64_t{1} << 20) {
    const std::int64_t blocks = (count + each - 1) / each;
    return static_cast<unsigned>(blocks < most ? blocks : most);
}

}  // namespace tenon::cuda
