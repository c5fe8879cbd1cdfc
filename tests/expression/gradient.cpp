#include <array>

#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;
using support::parameter;

namespace {

using support::packet;
constexpr double bound = 1e-6;
using Matrix = Shape<dyn, dyn>;
using Cube = Shape<dyn, dyn, dyn>;

}  // namespace

TEST_CASE("values that a gradient does not depend on are not kept for it") {
    auto x = support::parameter<Shape<2048>>(1);  // of which no pool rounds the bytes up
    const auto kept = [&](auto combine) {
        const std::size_t before = Memory<Device>::used_bytes();
        const auto result = [&] {
            Tensor sine = sin(x.tensor());
            Tensor cosine = cos(x.tensor());
            return combine(sine, cosine);
        }();
        const std::size_t one = 2048 * sizeof(double), bytes = Memory<Device>::used_bytes() - before;
        x.clear_gradient();
        backward(sum(result));
        return static_cast<int>(bytes / one);
    };
    const auto derivative = [&](auto expected) {
        return relative_error(x.accumulated_gradient(), Tensor(expected(x.value()))) < 1e-12;
    };
    // Only the result.
    CHECK(kept([&](auto s, auto c) { return Tensor(s - 2 * -c + x.tensor()); }) == 1);
    CHECK(derivative([](auto v) { return Tensor(cos(v) - 2 * sin(v) + 1); }));
    // The product's gradient needs both, the sum around it not the result's.
    CHECK(kept([&](auto s, auto c) { return Tensor(s * c + x.tensor()); }) == 3);
    CHECK(derivative([](auto v) { return Tensor(square(cos(v)) - square(sin(v)) + 1); }));
    // A factor without a gradient is needed, what it is multiplied by is not.
    CHECK(kept([&](auto s, auto c) { return Tensor(s * detach(c)); }) == 2);
    CHECK(derivative([](auto v) { return Tensor(square(cos(v))); }));
    CHECK(kept([&](auto s, auto c) { return Tensor(s - mean<keep_axis<-1>>(c)); }) == 1);
    CHECK(kept([&](auto s, auto) { return Tensor(s - max<keep_axis<-1>>(s)); }) == 2);
    // What has no gradient and scales none is not needed, whatever is done to it.
    CHECK(kept([&](auto s, auto c) {
              return Tensor(x.tensor() + detach(s) / detach(c) + max<keep_axis<-1>>(detach(s)));
          }) == 1);
}

TEST_CASE("a leaf that occurs twice") {
    for (const int length : {1, 3, packet - 1, packet + 1, 40}) {
        INFO("length ", length);
        auto x = parameter<Matrix>(1, 3, length), y = parameter<Matrix>(2, 3, length);
        CHECK(gradient_error([](auto a) { return Tensor(a * a); }, x) < bound);
        CHECK(gradient_error([](auto a, auto b) { return Tensor(a * b * a + b / (2 + a * a)); }, x, y) <
              bound);
        CHECK(gradient_error([](auto a) { return Tensor(a * a + sum(a)); }, x) < bound);
    }
    auto square = parameter<Matrix>(1, 5, 5);
    CHECK(gradient_error([](auto a) { return Tensor(a * transpose(a)); }, square) < bound);
    CHECK(gradient_error([](auto a) { return Tensor(a * transpose(a) + sum(a)); }, square) < bound);
}

TEST_CASE("the same parameter under two shapes") {
    auto x = parameter<Shape<6>>(1);
    auto outer = [](auto a) { return Tensor(reshape<Shape<6, 1>>(a) * reshape<Shape<1, 6>>(a)); };
    CHECK(gradient_error(outer, x) < bound);
    auto y = parameter<Shape<4>>(2);
    auto rows_and_sums = [](auto a) {
        return Tensor(reshape<Shape<4, 1>>(a) * a - sum<keep_axis<1>>(reshape<Shape<4, 1>>(a) * square(a)));
    };
    CHECK(gradient_error(rows_and_sums, y) < bound);
}

TEST_CASE("broadcasts of every kind, extents known at run time only") {
    auto formula = [](auto a, auto b) { return Tensor(a * b + b * b); };
    for (const int last : {1, packet - 1, packet + 1, 33}) {
        auto a = parameter<Cube>(1, 3, 4, last);
        const Extents patterns[] = {Extents(3, 4, last), Extents(1, 1, 1),    Extents(3, 1, 1),
                                    Extents(1, 4, 1),    Extents(1, 1, last), Extents(3, 1, last)};
        for (const Extents& extents : patterns) {
            INFO("last axis ", last, ", pattern ", extents[0], " ", extents[1], " ", extents[2]);
            auto b = parameter<Cube>(2, extents[0], extents[1], extents[2]);
            CHECK(gradient_error(formula, a, b) < bound);
            CHECK(gradient_error(formula, b, a) < bound);
        }
    }
}

TEST_CASE("broadcasts of static shapes") {
    auto matrix = parameter<Shape<5, packet + 1>>(1);
    auto column = parameter<Shape<5, 1>>(2);
    auto row = parameter<Shape<packet + 1>>(3);
    auto scalar = parameter<Shape<>>(4);
    CHECK(gradient_error([](auto a, auto b, auto c, auto d) { return Tensor(a * b * c + d * c - b); }, matrix,
                         column, row, scalar) < bound);
    auto cube = parameter<Shape<3, 4, 5>>(5);
    auto middle = parameter<Shape<3, 1, 5>>(6);
    CHECK(gradient_error([](auto a, auto b) { return Tensor(a * b); }, cube, middle) < bound);
}

TEST_CASE("exact, bounded and open extents mix") {
    auto fixed = parameter<Shape<4, 3>>(1);
    auto bounded = parameter<Shape<upto<8>, dyn>>(2, 4, 3);
    auto open = parameter<Shape<dyn, 1>>(3, 4);
    CHECK(gradient_error([](auto a, auto b, auto c) { return Tensor(a * b + b * c); }, fixed, bounded, open) <
          bound);
}

TEST_CASE("long rows, whose gradient is made in segments") {
    // A leaf shared by all segments, one shared by all rows, and one of its own.
    const auto x = support::numbers<double, Shape<dyn, dyn>>(1, 2, 5000);
    const Parameter<double, Matrix, Device> a(x);
    const auto scalar = parameter<Matrix>(2, 1, 1), row = parameter<Matrix>(3, 1, 5000);
    const auto seed = support::values(support::numbers<double, Shape<10'000>>(4)), u = support::values(x),
               w = support::values(row.value());
    const double s = support::at(scalar.value(), 0, 0);
    backward(Tensor<double, Matrix, Device, Tracked>(a * scalar * row), seed);
    double total = 0;
    for (std::int64_t i = 0; i < 10'000; ++i) total += seed[i] * u[i] * w[i % 5000];
    CHECK(support::at(scalar.accumulated_gradient(), 0, 0) == doctest::Approx(total).epsilon(1e-12));
    CHECK(support::worst_error(a.accumulated_gradient(),
                               [&](std::int64_t i) { return seed[i] * s * w[i % 5000]; }) < 1e-14);
    CHECK(support::worst_error(row.accumulated_gradient(), [&](std::int64_t i) {
              return s * (seed[i] * u[i] + seed[i + 5000] * u[i + 5000]);
          }) < 1e-14);
}

TEST_CASE("rows of whole packets, and one that they all share") {
    auto x = parameter<Matrix>(1, 70, 4 * packet), y = parameter<Matrix>(2, 70, 4 * packet);
    auto row = parameter<Shape<4 * packet>>(3);
    // Each gets two contributions, of which the second is added to the first.
    auto formula = [](auto a, auto b, auto c) {
        Tensor u = a * b + c;
        return Tensor(sin(u + c) * u - b);
    };
    CHECK(gradient_error(formula, x, y, row) < bound);
    auto other = parameter<Shape<4 * packet>>(4);
    CHECK(gradient_error([](auto a, auto b, auto c) { return Tensor(a * b + b * c); }, x, row, other) <
          bound);
    CHECK(gradient_error([&](auto c) { return Tensor(x.value() + c); }, row) < bound);
}

TEST_CASE("gradients of 16 bits are close to those of 64") {
    const auto check = [](auto narrow, int rows, int length, double bound) {
        using T = decltype(narrow);
        INFO("rows ", rows, ", length ", length);
        const auto x = cast<T>(support::numbers<double, Matrix>(1, rows, length)),
                   y = cast<T>(support::numbers<double, Matrix>(2, rows, length)),
                   row = cast<T>(support::numbers<double, Matrix>(3, 1, length));
        const auto gradients = [&]<class C>(C) {
            const Parameter<C, Matrix, Device> a(cast<C>(x)), b(cast<C>(y)), c(cast<C>(row));
            Tensor u = 2 * a.tensor();
            Tensor v = 2 * b.tensor();
            Tensor w = tanh(u * v + 0.5) * u - v;
            Tensor z = gelu(w + c.tensor());
            backward(sum(square(z)));
            return std::array{Tensor(cast<double>(a.accumulated_gradient())),
                              Tensor(cast<double>(b.accumulated_gradient())),
                              Tensor(cast<double>(c.accumulated_gradient()))};
        };
        const auto got = gradients(T{}), exact = gradients(double{});
        for (int i = 0; i < 3; ++i) CHECK(relative_error(got[i], exact[i]) < bound);
    };
    for (const int length : {16, 21, 1024}) {
        check(bf16{}, 70, length, 0.02);
        check(f16{}, 70, length, 0.003);
    }
}

TEST_CASE("views within expressions") {
    auto x = parameter<Matrix>(1, 7, 9), y = parameter<Matrix>(2, 9, 7);
    CHECK(gradient_error([](auto a, auto b) { return Tensor(transpose(a) * b + b); }, x, y) < bound);
    CHECK(gradient_error([](auto a) { return Tensor(slice<1>(a, 0, 6) * slice<1>(a, 3, 9)); }, x) < bound);
    CHECK(gradient_error([](auto a) { return Tensor(broadcast_to<Matrix>(select<0>(a, 2), 7, 9) * a); }, x) <
          bound);
    CHECK(gradient_error([](auto a) { return Tensor(sum<axis<1>>(square(transpose(a)))); }, x) < bound);
}

TEST_CASE("parts that cannot fuse still carry their gradients") {
    auto x = parameter<Shape<3, 5>>(1);
    auto y = parameter<Shape<3, 3>>(2);
    CHECK(gradient_error([](auto a, auto b) { return Tensor(sum<axis<1>>(b * sum<axis<1>>(a)) + 1); }, x, y) <
          bound);
    CHECK(gradient_error([](auto a) { return Tensor(a / sum(square(a))); }, x) < bound);
    // Open extents that turn out to be 1.
    auto one = parameter<Matrix>(3, 1, 5), many = parameter<Matrix>(4, 4, 6);
    CHECK(gradient_error([](auto a, auto b) { return Tensor(b - square(mean<keep_axis<1>>(a)) * b); }, one,
                         many) < bound);
}

TEST_CASE("untracked leaves get none, and empty tensors none to give") {
    const auto constant = support::numbers<double, Shape<4>>(1);
    auto x = parameter<Shape<4>>(2);
    CHECK(gradient_error([&](auto a) { return Tensor(a * constant + constant); }, x) < bound);
    CHECK(gradient_error([](auto a) { return Tensor(a * detach(a)); }, x) > 0.1);
    const auto empty = parameter<Matrix>(3, 0, 4);
    backward(Tensor<double, Matrix, Device, Tracked>(empty * empty), std::span<const double>());
    CHECK(empty.accumulated_gradient().size() == 0);
    const auto rows = parameter<Matrix>(3, 4, 0);
    const double ones[] = {1, 1, 1, 1};
    backward(Tensor(sum<axis<1>>(rows)), ones);
    backward(sum(rows));
    CHECK(rows.accumulated_gradient().size() == 0);
}
