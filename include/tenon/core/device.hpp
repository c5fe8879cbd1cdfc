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

namespace detail {
template <class>
inline constexpr bool is_compiled_here = false;
}

template <class Operation>
struct Kernel<Operation, Cuda> {
    static_assert(
        detail::is_compiled_here<Operation>,
        "kernels of Cuda are compiled by nvcc: include <tenon/cuda.hpp> in a .cu file, and instantiate "
        "there what runs them; other files may hold tensors of Cuda and call functions of that file");
};

}  // namespace tenon
