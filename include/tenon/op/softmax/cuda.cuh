#pragma once

#include <tenon/op/softmax/rows.cuh>
#include <tenon/op/softmax/softmax.hpp>

namespace tenon {
namespace cuda {

struct SoftmaxOfNumbers {
    template <class C>
    __device__ static C finish(C total) {
        return C(1) / total;
    }
    template <class C>
    __device__ static C value(C x, C greatest, C inverse) {
        return exp(x - greatest) * inverse;
    }
    template <class C>
    __device__ static C term(C y, C upstream) {
        return y * upstream;
    }
    template <class C>
    __device__ static C gradient(C y, C upstream, C product) {
        return y * (upstream - product);
    }
};

}  // namespace cuda

template <>
struct Kernel<Softmax, Cuda> : cuda::RowsKernel<cuda::SoftmaxOfNumbers> {};

}  // namespace tenon
