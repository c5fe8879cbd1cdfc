#pragma once

// The one macro of the library: a function that is compiled for the host and, under nvcc, for the GPU too.
#ifdef __CUDACC__
#define TENON_HOST_DEVICE __host__ __device__
#else
#define TENON_HOST_DEVICE
#endif
