#pragma once

namespace tenon {

/// Memory and kernels of the host.
struct Cpu {};

/// Memory and kernels of an NVIDIA GPU.
struct Cuda {};

/// The kernels of one operation on one device: static functions, specialized in the operation's `cpu.hpp` (or
/// `cuda.cuh`). Left incomplete here, so that a missing include is an error that names operation and device.
template <class Operation, class Device>
struct Kernel;

}  // namespace tenon
