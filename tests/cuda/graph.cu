#include <cstdint>
#include <span>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/cuda.hpp>

#include "../support.hpp"

using namespace tenon;

namespace {

constexpr int count = 1 << 18;

using Vector = Tensor<float, Shape<dyn>, Cuda>;

Vector filled(float value) { return Vector::filled(value, count); }
void set(const Vector& x, float value) { Memory<Cuda>::fill(x.data(), count, value); }
/// The value that all elements have; -1 where they differ.
float value_of(const Vector& x) {
    const auto host = to_device<Cpu>(x);
    for (int i = 0; i < count; ++i)
        if (host(i) != host(0)) return -1;
    return host(0);
}

/// out = a + b + 0.5, by way of two tensors that live no longer.
struct Sum {
    Vector a, b, out;

    void operator()() const {
        const Vector total = Vector::uninitialized(count);
        Memory<Cuda>::copy(a.data(), count, total.data());
        Memory<Cuda>::add(b.data(), count, total.data());
        const Vector half = filled(0.5f);
        Memory<Cuda>::add(half.data(), count, total.data());
        Memory<Cuda>::copy(total.data(), count, out.data());
    }
};

Sum make_sum() { return {filled(1), filled(2), filled(0)}; }

}  // namespace

TEST_CASE("a graph does nothing when it is captured, and its work at each replay") {
    const Sum sum = make_sum();
    sum();
    CHECK(value_of(sum.out) == 3.5f);
    cuda::Graph graph;
    CHECK_FALSE(graph.is_captured());
    CHECK_THROWS_AS(graph.replay(), CudaError);
    set(sum.out, 0);
    graph.capture(sum);
    CHECK(value_of(sum.out) == 0);
    for (const float a : {10.0f, 20.0f}) {
        set(sum.a, a);
        graph.replay();
        CHECK(value_of(sum.out) == a + 2.5f);
    }
}

TEST_CASE("a graph has its memory to itself") {
    const Sum sum = make_sum();
    cuda::Graph graph;
    graph.capture(sum);
    std::vector<Vector> others;
    for (int i = 0; i < 8; ++i) others.push_back(filled(100.0f + static_cast<float>(i)));
    graph.replay();
    CHECK(value_of(sum.out) == 3.5f);
    for (int i = 0; i < 8; ++i)
        CHECK(value_of(others[static_cast<std::size_t>(i)]) == 100.0f + static_cast<float>(i));
    Memory<Cuda>::trim();
    graph.replay();
    CHECK(value_of(sum.out) == 3.5f);
}

TEST_CASE("memory that waits for reuse joins a graph, and is everybody's when that is gone") {
    Memory<Cuda>::trim();
    const Sum sum = make_sum();
    sum();
    const std::size_t reserved = Memory<Cuda>::reserved_bytes(), used = Memory<Cuda>::used_bytes();
    {
        cuda::Graph graph;
        graph.capture(sum);
        CHECK(Memory<Cuda>::reserved_bytes() == reserved);
    }
    sum();
    CHECK(Memory<Cuda>::reserved_bytes() == reserved);
    CHECK(Memory<Cuda>::used_bytes() == used);
}

TEST_CASE("graphs that take turns share memory, and what they keep is theirs") {
    const Sum sum = make_sum();
    cuda::GraphMemory memory;
    cuda::Graph first(memory), second(memory);
    Vector kept;
    first.capture([&] {
        kept = Vector::uninitialized(count);
        Memory<Cuda>::copy(sum.a.data(), count, kept.data());
        sum();
    });
    const std::size_t reserved = Memory<Cuda>::reserved_bytes();
    second.capture([&] {
        sum();
        Memory<Cuda>::add(kept.data(), count, sum.out.data());
    });
    CHECK(Memory<Cuda>::reserved_bytes() == reserved);
    set(sum.a, 20);
    for (int i = 0; i < 2; ++i) {
        first.replay();
        second.replay();
    }
    CHECK(value_of(sum.out) == 42.5f);
    CHECK(value_of(kept) == 20);
}

TEST_CASE("a capture takes new memory from the driver") {
    Vector large;
    constexpr int more = 1 << 24;
    Memory<Cuda>::trim();
    cuda::Graph graph;
    graph.capture([&] { large = Vector::filled(7.0f, more); });
    graph.replay();
    CHECK(to_device<Cpu>(large)(more - 1) == 7);
}

TEST_CASE("work that waits or touches the host's memory is not captured") {
    const Sum sum = make_sum();
    sum();
    cuda::Graph graph;
    graph.capture(sum);
    CHECK_THROWS_AS(graph.capture([&] {
        sum();
        (void)value_of(sum.out);
    }),
                    CudaError);
    CHECK_THROWS_AS(graph.capture([] { cuda::synchronize(); }), CudaError);
    CHECK_THROWS_AS(graph.capture([&] {
        const float one = 1;
        Memory<Cuda>::copy(&one, 1, sum.out.data());
    }),
                    CudaError);
    CHECK_THROWS_AS(graph.capture([&] {
        cuda::Graph inner;
        inner.capture(sum);
    }),
                    CudaError);
    // What was captured before is still there, and everything else works.
    set(sum.a, 5);
    graph.replay();
    CHECK(value_of(sum.out) == 7.5f);
    sum();
    CHECK(value_of(sum.out) == 7.5f);
}

TEST_CASE("memory is filled with any value") {
    for (const int length : {1, 3, 1023, 1024, 1025, 5000}) {
        const auto of_float = to_device<Cpu>(Tensor<float, Shape<dyn>, Cuda>::filled(1.37f, length));
        const auto of_double = to_device<Cpu>(Tensor<double, Shape<dyn>, Cuda>::filled(-2.5e-3, length));
        const auto of_bf16 = to_device<Cpu>(Tensor<bf16, Shape<dyn>, Cuda>::filled(bf16(1.5f), length));
        for (int i = 0; i < length; ++i) {
            REQUIRE(of_float(i) == 1.37f);
            REQUIRE(of_double(i) == -2.5e-3);
            REQUIRE(static_cast<float>(of_bf16(i)) == 1.5f);
        }
    }
}

TEST_CASE("numbers are read back in order, each when its copy is done") {
    Readback<float, Cuda> readback;
    const auto number = Tensor<float, Shape<>, Cuda>::zeros();
    for (int i = 0; i < 5; ++i) {
        Memory<Cuda>::fill(number.data(), 1, static_cast<float>(i));
        readback.send(number.data());
        if (i > 0) CHECK(readback.take() == static_cast<float>(i - 1));
    }
    CHECK(readback.pending() == 1);
    CHECK(readback.take() == 4);
    readback.send(number.data());
    readback.send(number.data());
    CHECK_THROWS_AS(readback.send(number.data()), Error);
}
