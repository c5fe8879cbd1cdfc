#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <tenon/cuda/pack.cuh>
#include <tenon/optim/chunks.cuh>
#include <tenon/optim/elementwise_cuda.cuh>
#include <tenon/optim/ema.hpp>
#include <tenon/optim/staged_table.cuh>

namespace tenon {
namespace cuda {

template <class T>
struct AverageArrays {
    const T* weights;
    const ComputeOf<T>* wide;  // the weights, where they are of the average's type
    ComputeOf<T>* average;
    std::int64_t count;
};

/// average += share · (weight - average), one block a chunk.
template <class T, class C>
__global__ void __launch_bounds__(chunk_threads)
    update_averages(const Chunk* chunks, const AverageArrays<T>* arrays, const C* share) {
    const Chunk chunk = chunks[blockIdx.x];
    const AverageArrays<T> array = arrays[chunk.array];
    const C part = *share;
    for_each_pack<16 / sizeof(C)>(chunk, array.count, true, [&](std::int64_t at, auto n) {
        C weights[decltype(n)::value], average[decltype(n)::value];
        if (array.wide)
            load(array.wide + at, weights);
        else
            load(array.weights + at, weights);
        load(array.average + at, average);
#pragma unroll
        for (int i = 0; i < decltype(n)::value; ++i)
            average[i] = ::fma(part, weights[i] - average[i], average[i]);
        store(average, array.average + at);
    });
}

template <class T>
__global__ void swap_elements(T* a, T* b, std::int64_t count) {
    const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) {
        const T x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

}  // namespace cuda

template <>
struct Kernel<EmaUpdate, Cuda> {
    template <class T>
    class Pass {
    public:
        using C = ComputeOf<T>;

        Pass() = default;
        explicit Pass(const std::vector<Average<T>>& averages) : share_(1) {
            std::vector<cuda::AverageArrays<T>> arrays;
            std::vector<std::int64_t> counts;
            for (const Average<T>& average : averages) {
                arrays.push_back({average.weights(), average.wide_weights(), average.data(), average.size()});
                counts.push_back(average.size());
            }
            if (arrays.empty()) return;
            chunks_ = cuda::Chunks(counts);
            arrays_ = Storage(Memory<Cuda>::allocate(arrays.size() * sizeof arrays[0]));
            Memory<Cuda>::copy(arrays.data(), static_cast<std::int64_t>(arrays.size()),
                               static_cast<cuda::AverageArrays<T>*>(arrays_.data()));
        }

        void prepare(C share) {
            share_[0] = share;
            share_.upload();
        }
        void run() {
            cuda::launch(cuda::update_averages<T, C>, chunks_.grid(), chunks_.device(),
                         static_cast<const cuda::AverageArrays<T>*>(arrays_.data()), share_.device());
        }

    private:
        cuda::Chunks chunks_;
        Storage arrays_;
        cuda::StagedTable<C> share_;
    };

    template <class T>
    static void swap(T* a, T* b, std::int64_t count) {
        cuda::launch(cuda::swap_elements<T>, {cuda::blocks_for(count, 1024, 4096), 256}, a, b, count);
    }
};

}  // namespace tenon
