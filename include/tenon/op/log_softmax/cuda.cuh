#pragma once

#include <tenon/op/log_softmax/log_softmax.hpp>
#include <tenon/op/softmax/rows.cuh>

namespace tenon {
namespace cuda {

struct LogSoftmaxOfNumbers {
    template <class C>
    __device__ static C finish(C total) {
        return log(total);
    }
    template <class C>
    __device__ static C value(C x, C greatest, C rest) {
        return x - greatest - rest;
    }
    template <class C>
    __device__ static C term(C, C upstream) {
        return upstream;
    }
    template <class C>
    __device__ static C gradient(C y, C upstream, C total) {
        return upstream - exp(y) * total;
    }
};

}  // namespace cuda

template <>
struct Kernel<LogSoftmax, Cuda> : cuda::RowsKernel<cuda::LogSoftmaxOfNumbers> {};

}  // namespace tenon
