#pragma once

#include <string>

#include <tenon/cuda/error.hpp>

namespace tenon::cuda {

/// What kernels need to know of the current GPU.
struct DeviceProperties {
    std::string name;
    int major = 0, minor = 0;  // compute capability
    int multiprocessors = 0;
    int shared_bytes = 0;  // that a block may have at most
    std::size_t memory_bytes = 0;
};

/// How many GPUs this process may use; 0 too where there is no driver.
inline int device_count() {
    int count = 0;
    if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
    cudaGetLastError();
    return 0;
}

/// Of the GPU that is current when this is first called. Throws CudaError where there is none.
inline const DeviceProperties& device_properties() {
    static const DeviceProperties properties = [] {
        int device = 0;
        check(cudaGetDevice(&device), "cudaGetDevice");
        cudaDeviceProp found;
        check(cudaGetDeviceProperties(&found, device), "cudaGetDeviceProperties");
        return DeviceProperties{found.name,
                                found.major,
                                found.minor,
                                found.multiProcessorCount,
                                static_cast<int>(found.sharedMemPerBlockOptin),
                                found.totalGlobalMem};
    }();
    return properties;
}

}  // namespace tenon::cuda
