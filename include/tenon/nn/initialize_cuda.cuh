#pragma once

#include <cstdint>

#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/nn/initialize.hpp>

namespace tenon {
namespace cuda {

template <class T>
__global__ void draw_elements(const NormalElements elements, T* to, std::int64_t count) {
    const std::int64_t at = thread_number();
    if (at >= count) return;
    const Philox::Block block = Philox(elements.seed, elements.stream)(static_cast<std::uint64_t>(at));
    to[at] = elements.of<T>(block.word[0], block.word[1]);
}

}  // namespace cuda

template <>
struct Kernel<Initialize, Cuda> {
    template <class T>
    static void run(const NormalElements& elements, T* to, std::int64_t count) {
        constexpr int threads = 256;
        cuda::launch(cuda::draw_elements<T>, {cuda::blocks_for(count, threads, count), threads}, elements, to,
                     count);
    }
};

}  // namespace tenon
