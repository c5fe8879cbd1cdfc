#include <doctest/doctest.h>

#include <tenon/core/compare.hpp>
#include <tenon/core/print.hpp>
#include <tenon/cuda/handles.hpp>

// Compiled by the host's compiler: tensors of a GPU are held, copied and printed without nvcc.

using namespace tenon;

TEST_CASE("a tensor of a GPU is made, copied to and fro, cloned and let go") {
    const auto x = Tensor<float, Shape<2, 3>, Cuda>::of({1, 2, 3, 4, 5, 6});
    const auto y = x.clone();
    CHECK(y.data() != x.data());
    const auto here = to_device<Cpu>(y);
    static_assert(std::same_as<decltype(here), const Tensor<float, Shape<2, 3>>>);
    CHECK(here(1, 2) == 6);
    CHECK(to_device<Cuda>(here) == x);
    CHECK(Tensor<float, Shape<>, Cuda>::filled(7).item() == 7);
    CHECK(to_device<Cpu>(Tensor<double, Shape<dyn>, Cuda>::filled(0.1, 5))(4) == 0.1);
    CHECK(Tensor<bf16, Shape<dyn>, Cuda>::zeros(0).size() == 0);
}

TEST_CASE("memory that is let go is taken again") {
    const std::size_t used = Memory<Cuda>::used_bytes();
    const void* first = nullptr;
    {
        const auto x = Tensor<float, Shape<1000>, Cuda>::zeros();
        first = x.data();
        CHECK(Memory<Cuda>::used_bytes() > used);
    }
    CHECK(Memory<Cuda>::used_bytes() == used);
    const std::size_t reserved = Memory<Cuda>::reserved_bytes();
    const auto y = Tensor<float, Shape<1000>, Cuda>::zeros();
    CHECK(y.data() == first);
    CHECK(Memory<Cuda>::reserved_bytes() == reserved);
}

TEST_CASE("more memory than there is is an error that says how much was asked for") {
    const std::size_t used = Memory<Cuda>::used_bytes();
    CHECK_THROWS_AS((Tensor<float, Shape<dyn, dyn>, Cuda>::uninitialized(1 << 20, 1 << 20)), CudaError);
    CHECK(Memory<Cuda>::used_bytes() == used);
}
