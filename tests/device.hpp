#pragma once

// The device that the tests of a file run on, and its kernels. Each is compiled twice: by nvcc for a GPU, and
// by the host's compiler for the CPU, but for what tests kernels of the CPU (`*_kernel.cpp`).

#ifdef __CUDACC__
#include <tenon/cuda.hpp>
#else
#include <tenon/core/packet.hpp>
#include <tenon/tenon.hpp>
#endif

namespace tenon::support {

#ifdef __CUDACC__
using Device = Cuda;
/// How many numbers in f64 a kernel moves at once; lengths around it are those that go wrong.
inline constexpr int packet = 2;
inline bool has_device() { return cuda::device_count() > 0; }
#else
using Device = Cpu;
inline constexpr int packet = Packet<double>::size;
inline bool has_device() { return true; }
#endif

}  // namespace tenon::support
