#include <string>
#include <thread>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/autograd/tape.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;
using support::parameter;

namespace {

using Vector = Shape<5>;

/// A node that fails, as a kernel that runs out of memory would.
struct FailingNode : Node {
    void backward() { throw Error("out of memory"); }
};

auto failing(const Tensor<double, Vector, Device, Tracked>& x) { return track<FailingNode>(detach(x)); }

}  // namespace

TEST_CASE("a value that is used several times gathers all of its gradient") {
    auto x = parameter<Vector>(1);
    auto f = [](auto a) {
        Tensor h = a * a;
        Tensor left = exp(h) + h;
        Tensor right = h * left;
        return sum(left * right - h);
    };
    CHECK(gradient_error(f, x) < 1e-6);
}

TEST_CASE("what no gradient reaches stays out of the backward pass") {
    const auto x = parameter<Vector>(1), y = parameter<Vector>(2);
    Tensor used = x * 2;
    Tensor unused = y * used;
    backward(sum(used));
    CHECK(support::values(x.accumulated_gradient()) == std::vector<double>(5, 2));
    CHECK_FALSE(y.gradient->written);
    CHECK(support::values(y.accumulated_gradient()) == std::vector<double>(5, 0));
}

TEST_CASE("several backward passes add up in a parameter until it is cleared") {
    auto x = parameter<Vector>(1);
    backward(sum(x * 3));
    backward(sum(x * 4));
    CHECK(support::values(x.accumulated_gradient()) == std::vector<double>(5, 7));
    x.clear_gradient();
    backward(sum(x * 4));
    CHECK(support::values(x.accumulated_gradient()) == std::vector<double>(5, 4));
}

TEST_CASE("a second backward on the same graph is an error that says so") {
    const auto x = parameter<Vector>(1);
    auto loss = sum(x * x);
    backward(loss);
    CHECK(Tape::current().node_count() == 0);
    std::string message;
    try {
        backward(loss);
    } catch (const GraphError& error) {
        message = error.what();
    }
    CHECK(message.find("second backward") != std::string::npos);
    // A value of the consumed graph cannot enter a new one either.
    CHECK_THROWS_AS(Tensor(loss + sum(x)), GraphError);
    CHECK(loss.item() > 0);
}

TEST_CASE("a value of another thread is an error that says so") {
    const auto x = parameter<Vector>(1);
    auto loss = sum(x * x);
    std::string message;
    std::thread([&] {
        try {
            backward(loss);
        } catch (const GraphError& error) {
            message = error.what();
        }
    }).join();
    CHECK(message.find("another thread") != std::string::npos);
    backward(loss);  // its own thread may
    CHECK(x.gradient->written);
}

TEST_CASE("each thread has a tape of its own") {
    const auto x = parameter<Vector>(1);
    auto here = sum(x * 2);
    std::thread([] {
        CHECK(Tape::current().node_count() == 0);
        const auto y = parameter<Vector>(1);
        backward(sum(y * 5));
        CHECK(support::values(y.accumulated_gradient()) == std::vector<double>(5, 5));
    }).join();
    backward(here);
    CHECK(support::values(x.accumulated_gradient()) == std::vector<double>(5, 2));
}

TEST_CASE("a graph that nothing refers to is dropped, and its memory with it") {
    const auto x = parameter<Vector>(1);
    const std::size_t before = Memory<Device>::used_bytes();
    {
        Tensor h = x * x;
        Tensor y = exp(h);
        CHECK(Tape::current().node_count() == 2);
        auto copy = y;
        h = y;
        CHECK(Tape::current().node_count() == 2);
    }
    CHECK(Tape::current().node_count() == 0);
    CHECK(Memory<Device>::used_bytes() == before);
}

TEST_CASE("backward gives back what it has consumed") {
    const auto x = parameter<Vector>(1);
    x.accumulated_gradient();
    const std::size_t before = Memory<Device>::used_bytes();
    backward([&] {
        Tensor h = exp(x);
        return sum(h * h);
    }());
    CHECK(Memory<Device>::used_bytes() == before);
}

TEST_CASE("an exception in a backward pass leaves the tape usable") {
    const auto x = parameter<Vector>(1), y = parameter<Vector>(2);
    auto loss = sum(failing(Tensor(x * x)) * 2);
    CHECK_THROWS_WITH_AS(backward(loss), "out of memory", Error);
    CHECK(Tape::current().node_count() == 0);
    CHECK_THROWS_AS(backward(loss), GraphError);
    CHECK_FALSE(x.gradient->written);
    backward(sum(y * 3));
    CHECK(support::values(y.accumulated_gradient()) == std::vector<double>(5, 3));
}

TEST_CASE("an exception between forward and backward drops the graph") {
    const auto x = parameter<Vector>(1);
    try {
        Tensor h = x * x;
        CHECK(Tape::current().node_count() == 1);
        throw Error("the user's");
    } catch (const Error&) {
    }
    CHECK(Tape::current().node_count() == 0);
}

TEST_CASE("backward starts from one element, or from a seed") {
    const auto x = parameter<Vector>(1);
    CHECK_THROWS_AS(backward(Tensor(x * x)), ShapeError);
    const double seed[] = {1, 2, 3, 4, 5};
    Tensor y = x * 2;
    backward(y, seed);
    CHECK(support::values(x.accumulated_gradient()) == std::vector<double>{2, 4, 6, 8, 10});
}

TEST_CASE("while recording is paused nothing is recorded, and what is made then enters no graph unnoticed") {
    const auto x = parameter<Vector>(1);
    const auto paused = [&] {
        Tape::Pause pause(Tape::current());
        Tensor y = x * x;
        Tensor z = sum(slice<0>(y, 1, 3)) + 1;
        CHECK_THROWS_AS(backward(z), GraphError);
        return y;
    }();
    CHECK(Tape::current().node_count() == 0);
    CHECK_THROWS_AS(Tensor(paused * x), GraphError);
    CHECK_THROWS_AS(slice<0>(paused, 1, 3), GraphError);
    backward(sum(detach(paused) * x));
    CHECK(support::values(x.accumulated_gradient()) == support::values(paused));
}

TEST_CASE("a long graph lies in several chunks") {
    const auto x = parameter<Vector>(1);
    Tensor y = x * 1;
    for (int i = 0; i < 3000; ++i) y = y + x;
    CHECK(Tape::current().node_count() == 3001);
    backward(sum(y));
    CHECK(support::values(x.accumulated_gradient()) == std::vector<double>(5, 3001));
}
