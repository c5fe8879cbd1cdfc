#pragma once

// What a file needs that nvcc does not compile and that holds tensors and models of a GPU, copies them, and
// calls what a file of nvcc instantiates. The compiler must find NVIDIA's headers; the program links with
// cudart.

#include <tenon/core/to_device.hpp>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/readback.hpp>
#include <tenon/cuda/repeated_work.hpp>
