#include <cmath>

#include <doctest/doctest.h>

#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/expression/evaluate.hpp>
#include <tenon/expression/functions.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;

namespace {

/// a * b + c by a plain loop, broadcasting, with extents as at run time.
template <class A, class B, class C>
std::vector<double> multiply_add(const Extents& whole, const A& a, const B& b, const C& c) {
    const auto element = [&](const auto& x, std::int64_t index) {
        const Extents& own = x.extents();
        const Strides steps = x.strides();
        std::int64_t offset = 0;
        for (int axis = whole.rank - 1; axis >= 0; --axis) {
            const int mine = axis - (whole.rank - own.rank);
            if (mine >= 0 && own[mine] != 1) offset += index % whole[axis] * steps[mine];
            index /= whole[axis];
        }
        return static_cast<double>(x.data()[offset]);
    };
    const auto& p = on_host(a);
    const auto& q = on_host(b);
    const auto& r = on_host(c);
    std::vector<double> result;
    for (std::int64_t i = 0; i < whole.count(); ++i)
        result.push_back(element(p, i) * element(q, i) + element(r, i));
    return result;
}

using Open = Tensor<double, Shape<dyn, dyn, dyn>, Device>;

}  // namespace

TEST_CASE("an expression's type follows from its parts") {
    const auto x = numbers<float, Shape<4, 3>>(1), y = numbers<float, Shape<4, 3>>(2);
    Tensor h = silu(x) * y + 2;
    static_assert(std::same_as<decltype(h), Tensor<float, Shape<4, 3>, Device>>);
    const auto row = numbers<float, Shape<3>>(3);
    Tensor z = row - h;
    static_assert(std::same_as<decltype(z), Tensor<float, Shape<4, 3>, Device>>);
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 3; ++j) CHECK(at(z, i, j) == at(row, j) - at(h, i, j));
    const auto open = numbers<double, Shape<dyn, 3>>(4, 4);
    static_assert(
        std::same_as<decltype(Tensor(open * cast<double>(x))), Tensor<double, Shape<4, 3>, Device>>);
}

TEST_CASE("numbers stand on either side of every operator") {
    const auto x = Tensor<double, Shape<2>, Device>::of({2, 4});
    CHECK(Tensor(1 + x) == Tensor<double, Shape<2>, Device>::of({3, 5}));
    CHECK(Tensor(x - 1) == Tensor<double, Shape<2>, Device>::of({1, 3}));
    CHECK(Tensor(1 - x) == Tensor<double, Shape<2>, Device>::of({-1, -3}));
    CHECK(Tensor(x * 2.5f) == Tensor<double, Shape<2>, Device>::of({5, 10}));
    CHECK(Tensor(8 / x) == Tensor<double, Shape<2>, Device>::of({4, 2}));
    CHECK(Tensor(max(x, 3)) == Tensor<double, Shape<2>, Device>::of({3, 4}));
    CHECK(Tensor(min(3, x)) == Tensor<double, Shape<2>, Device>::of({2, 3}));
    CHECK(Tensor(-x) == Tensor<double, Shape<2>, Device>::of({-2, -4}));
}

TEST_CASE("an expression never dangles") {
    auto make = [] {
        const auto x = Tensor<double, Shape<3>, Device>::of({1, 2, 3});
        auto e = x * x;
        return e + Tensor<double, Shape<3>, Device>::of({10, 20, 30});
    };
    auto e = make();
    CHECK(Tensor(e) == Tensor<double, Shape<3>, Device>::of({11, 24, 39}));
    CHECK(Tensor(e) == Tensor<double, Shape<3>, Device>::of({11, 24, 39}));
}

TEST_CASE("broadcasts of every kind, extents known at run time only") {
    for (const int last : {1, 3, support::packet + 1, 40}) {
        const Extents patterns[] = {Extents(3, 4, last), Extents(1, 1, 1),    Extents(3, 1, 1),
                                    Extents(1, 4, 1),    Extents(1, 1, last), Extents(3, 1, last)};
        for (const Extents& first : patterns)
            for (const Extents& second : patterns) {
                const Open a = numbers<double, Shape<dyn, dyn, dyn>>(1, 3, 4, last),
                           b = numbers<double, Shape<dyn, dyn, dyn>>(2, first[0], first[1], first[2]),
                           c = numbers<double, Shape<dyn, dyn, dyn>>(3, second[0], second[1], second[2]);
                const Open left = a * b + c;
                CHECK(support::values(left) == multiply_add(a.extents(), a, b, c));
            }
    }
}

TEST_CASE("broadcasts of static shapes, of different ranks") {
    const auto a = numbers<double, Shape<2, 3, 5>>(1);
    const auto check = [&](const auto& b, const auto& c) {
        Tensor y = a * b + c;
        static_assert(std::same_as<typename decltype(y)::shape_type, Shape<2, 3, 5>>);
        CHECK(support::values(y) == multiply_add(y.extents(), a, b, c));
    };
    check(numbers<double, Shape<>>(2), numbers<double, Shape<5>>(3));
    check(numbers<double, Shape<3, 1>>(2), numbers<double, Shape<2, 1, 5>>(3));
    check(numbers<double, Shape<2, 1, 1>>(2), numbers<double, Shape<upto<8>>>(3, 5));
}

TEST_CASE("views are read where they lie") {
    const auto x = numbers<double, Shape<dyn, dyn>>(1, 5, 7), y = numbers<double, Shape<dyn, dyn>>(2, 7, 5);
    Tensor sum = transpose(x) * y + y;
    CHECK(sum.extents() == Extents(7, 5));
    for (int i = 0; i < 7; ++i)
        for (int j = 0; j < 5; ++j) CHECK(at(sum, i, j) == at(x, j, i) * at(y, i, j) + at(y, i, j));
    const auto part = slice<1>(x, 2, 6);
    Tensor twice = part * part + part;
    for (int i = 0; i < 5; ++i)
        for (int j = 0; j < 4; ++j)
            CHECK(at(twice, i, j) == at(x, i, j + 2) * at(x, i, j + 2) + at(x, i, j + 2));
    const auto repeated = broadcast_to<Shape<6, 7>>(select<0>(x, 3));
    Tensor third = repeated * 2;
    CHECK(at(third, 5, 4) == 2 * at(x, 3, 4));
}

TEST_CASE("empty extents give empty results") {
    const auto x = Tensor<double, Shape<dyn, dyn>, Device>::zeros(0, 4),
               row = numbers<double, Shape<dyn, dyn>>(1, 1, 4);
    CHECK(Tensor(x * row + 1).extents() == Extents(0, 4));
    const auto y = Tensor<double, Shape<dyn, dyn>, Device>::zeros(3, 0);
    CHECK(Tensor(y + y * y).size() == 0);
    CHECK(Tensor(Tensor<double, Shape<0, 3>, Device>::zeros() + 1).size() == 0);
}

TEST_CASE("exact, bounded and open extents mix, and are checked when the expression is built") {
    const auto fixed = numbers<double, Shape<4, 3>>(1);
    const auto open = numbers<double, Shape<dyn, 3>>(2, 4);
    const auto bounded = numbers<double, Shape<upto<8>, dyn>>(3, 4, 3);
    Tensor y = fixed * open + bounded;
    static_assert(std::same_as<typename decltype(y)::shape_type, Shape<4, 3>>);
    CHECK(support::values(y) == multiply_add(y.extents(), fixed, open, bounded));
    const auto other = numbers<double, Shape<dyn, 3>>(2, 5);
    CHECK_THROWS_WITH_AS(bounded + other, "extents_do_not_broadcast<Add, Shape<4, 3>, Shape<5, 3>>",
                         ShapeError);
    CHECK_THROWS_AS((Tensor<double, Shape<5, 3>, Device>(open + bounded)), ShapeError);
}

TEST_CASE("f32 and 16-bit results are f64's, rounded") {
    const auto x = numbers<double, Shape<37>>(1), y = numbers<double, Shape<37>>(2);
    const auto formula = [](const auto& a, const auto& b) { return Tensor(silu(a) * b + exp(a - b) / 2); };
    const auto exact = formula(x, y);
    CHECK(relative_error(formula(cast<float>(x), cast<float>(y)), exact) < 1e-6);
    const auto halves = formula(cast<bf16>(x), cast<bf16>(y));
    static_assert(std::same_as<decltype(halves)::value_type, bf16>);
    CHECK(relative_error(halves, formula(cast<double>(cast<bf16>(x)), cast<double>(cast<bf16>(y)))) < 0x1p-8);
    const auto small = formula(cast<f16>(x), cast<f16>(y));
    CHECK(relative_error(small, formula(cast<double>(cast<f16>(x)), cast<double>(cast<f16>(y)))) < 0x1p-11);
    // Rounded once: 1 + 2^-8 would be rounded to 1, and that plus 2^-8 again.
    const auto one = Tensor<bf16, Shape<1>, Device>::filled(bf16(1.f)),
               tiny = Tensor<bf16, Shape<1>, Device>::filled(bf16(0x1p-8f));
    CHECK(float(at(Tensor(one + tiny + tiny), 0)) == 1 + 0x1p-7f);
}

TEST_CASE("element types mix: the result is of the wider") {
    const auto x = numbers<double, Shape<9>>(1);
    const auto single = cast<float>(x);
    const auto half = cast<bf16>(x);
    Tensor a = x + single;
    static_assert(std::same_as<decltype(a)::value_type, double>);
    CHECK(at(a, 8) == at(x, 8) + static_cast<double>(at(single, 8)));
    Tensor b = half * single;
    static_assert(std::same_as<decltype(b)::value_type, float>);
    CHECK(at(b, 8) == float(at(half, 8)) * at(single, 8));
    static_assert(std::same_as<decltype(Tensor(half + cast<f16>(x)))::value_type, float>);
    const Tensor narrowed = materialize_as<bf16>(single * 2);
    CHECK(at(narrowed, 3) == bf16(at(single, 3) * 2));
}

TEST_CASE("gradients of 16-bit parameters gather in f32") {
    const Parameter<bf16, Shape<5>, Device> x(cast<bf16>(numbers<double, Shape<5>>(1)));
    Tensor y = x * x;
    backward(y, support::seed_of(y, {1, 1, 1, 1, 1}));
    static_assert(std::same_as<decltype(x.accumulated_gradient())::value_type, float>);
    for (int i = 0; i < 5; ++i) CHECK(at(x.accumulated_gradient(), i) == 2 * float(at(x.value(), i)));
}
