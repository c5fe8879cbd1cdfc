#pragma once

#include <cuda_runtime_api.h>
#include <source_location>
#include <string>

#include <tenon/core/error.hpp>

namespace tenon {

/// A call of CUDA failed. The message names the call, its place, and what CUDA says of it.
class CudaError : public Error {
public:
    using Error::Error;
};

namespace cuda {

/// Throws CudaError unless a call succeeded. `call` is its name.
inline void check(cudaError_t status, const char* call,
                  const std::source_location& place = std::source_location::current()) {
    if (status == cudaSuccess) return;
    std::string message = std::string(call) + ": " + cudaGetErrorString(status) + " (" +
                          cudaGetErrorName(status) + "), at " + place.file_name() + ":" +
                          std::to_string(place.line());
    if (status == cudaErrorNoDevice) message = "expected an NVIDIA GPU, found none: " + message;
    if (status == cudaErrorInsufficientDriver) {
        int driver = 0, runtime = 0;
        cudaDriverGetVersion(&driver);
        cudaRuntimeGetVersion(&runtime);
        const auto version = [](int number) {
            return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
        };
        message = "expected a driver for CUDA " + version(runtime) + ", found " +
                  (driver == 0 ? "none" : "one for CUDA " + version(driver)) + ": " + message;
    }
    cudaGetLastError();  // a failed call must not be found again by the next
    throw CudaError(message);
}

}  // namespace cuda
}  // namespace tenon
