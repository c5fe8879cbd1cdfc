#include <algorithm>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;
using support::worst_error;

namespace {

using support::packet;
const int lengths[] = {1, 3, packet - 1, packet, packet + 1, 3 * packet + 2, 5000};

/// Reduces the middle axis of [outer, length, inner], given as values in order, by a plain loop.
template <class Combine>
std::vector<double> reduced(const std::vector<double>& x, int outer, int length, int inner, double start,
                            Combine&& combine) {
    std::vector<double> result;
    for (int i = 0; i < outer; ++i)
        for (int k = 0; k < inner; ++k) {
            double total = start;
            for (int j = 0; j < length; ++j)
                total = combine(total, x[static_cast<std::size_t>((i * length + j) * inner + k)]);
            result.push_back(total);
        }
    return result;
}

constexpr double infinity = std::numeric_limits<double>::infinity();
double add(double a, double b) { return a + b; }
double greater(double a, double b) { return a < b ? b : a; }
double lesser(double a, double b) { return b < a ? b : a; }

}  // namespace

TEST_CASE("reductions over the last axis") {
    for (const int length : lengths) {
        INFO("length ", length);
        const auto x = numbers<double, Shape<dyn, dyn>>(1, 5, length);
        const auto v = support::values(x);
        auto mean_of = reduced(v, 5, length, 1, 0, add);
        for (double& total : mean_of) total /= length;
        CHECK(worst_error(Tensor(sum<axis<1>>(x)), reduced(v, 5, length, 1, 0, add)) < 1e-13);
        CHECK(worst_error(Tensor(mean<axis<-1>>(x)), mean_of) < 1e-14);
        CHECK(worst_error(Tensor(max<axis<1>>(x)), reduced(v, 5, length, 1, -infinity, greater)) == 0);
        CHECK(worst_error(Tensor(min<keep_axis<1>>(x)), reduced(v, 5, length, 1, infinity, lesser)) == 0);
        CHECK(Tensor(sum<keep_axis<1>>(x)).extents() == Extents(5, 1));
    }
}

TEST_CASE("reductions over other axes, over several, and over all") {
    const auto x = numbers<double, Shape<dyn, 4, 5>>(1, 3);
    const auto v = support::values(x);
    Tensor middle = sum<axis<1>>(x);
    static_assert(std::same_as<typename decltype(middle)::shape_type, Shape<dyn, 5>>);
    CHECK(worst_error(middle, reduced(v, 3, 4, 5, 0, add)) < 1e-14);
    CHECK(worst_error(Tensor(max<axis<0>>(x)), reduced(v, 1, 3, 20, -infinity, greater)) == 0);
    CHECK(worst_error(Tensor(min<keep_axis<0>>(x)), reduced(v, 1, 3, 20, infinity, lesser)) == 0);
    Tensor outer = mean<axis<0, 2>>(x);
    CHECK(outer.extents() == Extents(4));
    for (int j = 0; j < 4; ++j) {
        double total = 0;
        for (int i = 0; i < 3; ++i)
            for (int k = 0; k < 5; ++k) total += at(x, i, j, k);
        CHECK(at(outer, j) == doctest::Approx(total / 15));
    }
    CHECK(Tensor(sum<keep_axis<1, 2>>(x)).extents() == Extents(3, 1, 1));
    CHECK(worst_error(sum(x), reduced(v, 1, 60, 1, 0, add)) < 1e-13);
    CHECK(max(x).item() == *std::max_element(v.begin(), v.end()));
    CHECK(min(x).item() == *std::min_element(v.begin(), v.end()));
    CHECK(mean(x).item() == doctest::Approx(sum(x).item() / 60));
    CHECK(sum(Tensor<double, Shape<>, Device>::of({3})).item() == 3);
}

TEST_CASE("reductions over several last axes are one pass, lazy like those over one") {
    for (const int length : lengths) {
        INFO("length ", length);
        const auto x = numbers<double, Shape<3, dyn, 2>>(1, length);
        const auto v = support::values(x);
        auto total = sum<axis<1, 2>>(x);
        // Nothing is stored between the axes: what is reduced is x itself, its rows those of axis 0.
        static_assert(Lazy<decltype(total)> && decltype(total)::row_codes.rows == Extents(3));
        static_assert(std::same_as<decltype(total.a), Tensor<double, Shape<3, dyn, 2>, Device>>);
        CHECK(worst_error(Tensor(total), reduced(v, 3, 2 * length, 1, 0, add)) < 1e-12);
        CHECK(worst_error(Tensor(max<axis<-1, -2>>(x)), reduced(v, 3, 2 * length, 1, -infinity, greater)) ==
              0);
        CHECK(worst_error(Tensor(min<axis<0, 1, 2>>(x)), reduced(v, 1, 6 * length, 1, infinity, lesser)) ==
              0);
        // With a number for each row of axis 0, and one for all.
        const auto scale = numbers<double, Shape<3, 1, 1>>(2);
        const auto one = numbers<double, Shape<1>>(3);
        auto mixed = 2 * sum<axis<1, 2>>(square(x) * scale + one) + mean<axis<1, 2>>(x);
        static_assert(decltype(mixed)::row_codes.rows == Extents(3));
        Tensor result = mixed;
        Tensor kept = x - mean<keep_axis<1, 2>>(x);
        for (int i = 0; i < 3; ++i) {
            double squares = 0, plain = 0;
            for (int j = 0; j < length; ++j)
                for (int k = 0; k < 2; ++k) {
                    squares += at(x, i, j, k) * at(x, i, j, k) * at(scale, i, 0, 0) + at(one, 0);
                    plain += at(x, i, j, k);
                }
            CHECK(at(result, i) == doctest::Approx(2 * squares + plain / (2 * length)).epsilon(1e-10));
            CHECK(std::abs(at(kept, i, 0, 1) - (at(x, i, 0, 1) - plain / (2 * length))) < 1e-12);
        }
    }
}

TEST_CASE("several last axes that do not lie in one piece are reduced one after the other") {
    const auto x = numbers<double, Shape<3, 4, 5>>(1);
    const auto row = numbers<double, Shape<5>>(2);
    const auto open = numbers<double, Shape<dyn, dyn, dyn>>(3, 3, 1, 5);
    const auto part = slice<2>(x, 1, 4);
    Tensor with_row = sum<axis<1, 2>>(x * row);
    Tensor of_part = sum<axis<1, 2>>(part);
    Tensor broadcast = sum<axis<1, 2>>(open + numbers<double, Shape<dyn, dyn, dyn>>(4, 3, 4, 5));
    const auto other = numbers<double, Shape<dyn, dyn, dyn>>(4, 3, 4, 5);
    for (int i = 0; i < 3; ++i) {
        double products = 0, within = 0, sums = 0;
        for (int j = 0; j < 4; ++j)
            for (int k = 0; k < 5; ++k) {
                products += at(x, i, j, k) * at(row, k);
                if (k >= 1 && k < 4) within += at(x, i, j, k);
                sums += at(open, i, 0, k) + at(other, i, j, k);
            }
        CHECK(at(with_row, i) == doctest::Approx(products));
        CHECK(at(of_part, i) == doctest::Approx(within));
        CHECK(at(broadcast, i) == doctest::Approx(sums));
    }
}

TEST_CASE("views are reduced where they lie") {
    const auto x = numbers<double, Shape<dyn, dyn>>(1, 9, 14);
    const auto turned = transpose(x);
    CHECK(worst_error(Tensor(sum<axis<1>>(turned)), reduced(support::values(x), 1, 9, 14, 0, add)) < 1e-14);
    CHECK(worst_error(Tensor(sum<axis<0>>(turned)), reduced(support::values(x), 9, 14, 1, 0, add)) < 1e-14);
    const auto part = slice<1>(x, 3, 12);
    CHECK(worst_error(Tensor(max<axis<1>>(part)),
                      reduced(support::values(part), 9, 9, 1, -infinity, greater)) == 0);
    CHECK(worst_error(Tensor(max<axis<0>>(part)),
                      reduced(support::values(part), 1, 9, 9, -infinity, greater)) == 0);
    const auto repeated = broadcast_to<Shape<dyn, dyn>>(select<0>(x, 2), 3, 14);
    CHECK(worst_error(Tensor(sum<axis<0>>(repeated)), support::values(Tensor(3 * select<0>(x, 2)))) < 1e-15);
}

TEST_CASE("reductions fuse with what is around them") {
    for (const int length : {1, packet + 1, 100}) {
        const auto x = numbers<double, Shape<dyn, dyn>>(1, 6, length),
                   y = numbers<double, Shape<dyn, dyn>>(2, 6, length);
        auto e = exp(x - max<keep_axis<-1>>(x));
        Tensor weights = e / sum<keep_axis<-1>>(e);
        auto centred = x - mean<keep_axis<-1>>(x);
        Tensor variance = mean<axis<-1>>(square(centred));
        Tensor distance = sqrt(sum<axis<1>>(square(x - y))) + 1;
        Tensor projected = y - x * (sum<keep_axis<1>>(x * y) / sum<keep_axis<1>>(x * x));
        for (int i = 0; i < 6; ++i) {
            double total = 0, exponentials = 0, products = 0, squares = 0, apart = 0, deviation = 0;
            for (int j = 0; j < length; ++j) {
                total += at(x, i, j);
                exponentials += std::exp(at(x, i, j));
                products += at(x, i, j) * at(y, i, j);
                squares += at(x, i, j) * at(x, i, j);
                apart += (at(x, i, j) - at(y, i, j)) * (at(x, i, j) - at(y, i, j));
            }
            for (int j = 0; j < length; ++j) deviation += std::pow(at(x, i, j) - total / length, 2);
            CHECK(at(variance, i) == doctest::Approx(deviation / length).epsilon(1e-12));
            CHECK(at(distance, i) == doctest::Approx(1 + std::sqrt(apart)).epsilon(1e-12));
            for (int j = 0; j < length; ++j) {
                CHECK(at(weights, i, j) ==
                      doctest::Approx(std::exp(at(x, i, j)) / exponentials).epsilon(1e-12));
                CHECK(std::abs(at(projected, i, j) - (at(y, i, j) - at(x, i, j) * products / squares)) <
                      1e-12);
            }
        }
    }
}

TEST_CASE("two reductions of different length in one expression") {
    const auto x = numbers<double, Shape<dyn, dyn>>(1, 4, 7), y = numbers<double, Shape<dyn, dyn>>(2, 4, 30);
    Tensor both = sum<axis<1>>(x) * mean<axis<1>>(y);
    Tensor kept = sum<keep_axis<1>>(x) + y;
    for (int i = 0; i < 4; ++i) {
        double a = 0, b = 0;
        for (int j = 0; j < 7; ++j) a += at(x, i, j);
        for (int j = 0; j < 30; ++j) b += at(y, i, j);
        CHECK(at(both, i) == doctest::Approx(a * b / 30));
        CHECK(at(kept, i, 29) == doctest::Approx(a + at(y, i, 29)));
    }
}

TEST_CASE("what cannot fuse is evaluated first") {
    const auto x = numbers<double, Shape<3, 5>>(1);
    const auto square_matrix = numbers<double, Shape<3, 3>>(2);
    // Row sums of x, broadcast along the columns.
    Tensor along = square_matrix + sum<axis<1>>(x);
    // A reduction of what broadcasts a reduction, and two reductions one after the other.
    Tensor nested = sum<axis<1>>(square_matrix * sum<axis<1>>(x));
    Tensor whole = x / sum(x);
    for (int i = 0; i < 3; ++i) {
        double expected = 0;
        for (int j = 0; j < 3; ++j) {
            double row = 0;
            for (int k = 0; k < 5; ++k) row += at(x, j, k);
            CHECK(at(along, i, j) == doctest::Approx(at(square_matrix, i, j) + row));
            expected += at(square_matrix, i, j) * row;
        }
        CHECK(at(nested, i) == doctest::Approx(expected));
    }
    CHECK(sum(whole).item() == doctest::Approx(1));
    // Open extents that turn out to be 1: a row of means serves all rows.
    const auto one = numbers<double, Shape<dyn, dyn>>(3, 1, 5),
               many = numbers<double, Shape<dyn, dyn>>(4, 4, 6);
    Tensor shifted = many - mean<keep_axis<1>>(one);
    CHECK(at(shifted, 3, 5) == doctest::Approx(at(many, 3, 5) - mean(one).item()));
}

TEST_CASE("reductions of nothing are the identity") {
    const auto x = Tensor<double, Shape<dyn, dyn>, Device>::zeros(3, 0);
    CHECK(Tensor(sum<axis<1>>(x)) == Tensor<double, Shape<dyn>, Device>::zeros(3));
    CHECK(at(Tensor(max<axis<1>>(x)), 2) == -infinity);
    CHECK(Tensor(sum<axis<0>>(x)).size() == 0);
    CHECK(sum(x).item() == 0);
    const auto none = Tensor<double, Shape<dyn, dyn>, Device>::zeros(0, 4);
    CHECK(Tensor(sum<axis<1>>(none)).size() == 0);
    CHECK(Tensor(sum<axis<0>>(none)) == Tensor<double, Shape<dyn>, Device>::zeros(4));
    CHECK(Tensor(none / sum<keep_axis<1>>(none)).size() == 0);
}

TEST_CASE("sums of narrow types are f64's, rounded") {
    const auto x = numbers<double, Shape<3, 1000>>(1);
    Tensor exact = sum<axis<1>>(x * x);
    const auto single = cast<float>(x);
    CHECK(relative_error(Tensor(sum<axis<1>>(single * single)), exact) < 1e-6);
    const auto half = cast<bf16>(x);
    CHECK(relative_error(Tensor(sum<axis<1>>(half * half)),
                         Tensor(sum<axis<1>>(square(cast<double>(half))))) < 0x1p-8);
    // 1000 ones: a sum that itself were kept in 8 bits would stop at 256.
    CHECK(sum(Tensor<bf16, Shape<1000>, Device>::filled(bf16(1.f))).item() == bf16(1000.f));
    CHECK(at(Tensor(sum<axis<0>>(Tensor<bf16, Shape<1000, 2>, Device>::filled(bf16(1.f)))), 1) ==
          bf16(1000.f));
}

TEST_CASE("long sums of f32 do not stop growing") {
    // Beside 2^30 a one is lost, but only within a block.
    constexpr int count = 1 << 22;
    auto x = Tensor<float, Shape<dyn>, Device>::filled(1.f, count);
    support::set(x, 0x1p30f, 0);
    const auto error = [](float total, int ones) {
        return std::abs(static_cast<double>(total) - 0x1p30 - ones);
    };
    CHECK(error(sum(x).item(), count) < 4096);
    CHECK(error(mean(x).item() * count, count) < 4096);
    Tensor rows = reshape<Shape<2, dyn>>(x, count / 2);
    CHECK(error(at(Tensor(sum<axis<1>>(rows)), 0), count / 2) < 4096);
    Tensor columns = reshape<Shape<dyn, 2>>(x, count / 2);
    CHECK(error(at(Tensor(sum<axis<0>>(columns)), 0), count / 2) < 4096);
    CHECK(at(Tensor(sum<axis<0>>(columns)), 1) == static_cast<float>(count / 2));
}

TEST_CASE("a NaN anywhere comes through reductions, maxima and relu") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const int length : {1, packet - 1, packet, 3 * packet + 2, 5000})
        for (const int column : {0, length / 2, length - 1}) {
            auto x = numbers<double, Shape<dyn, dyn>>(1, 2, length);
            support::set(x, nan, 1, column);
            CHECK(std::isnan(at(Tensor(max<axis<1>>(x)), 1)));
            CHECK(std::isnan(at(Tensor(min<axis<1>>(x)), 1)));
            CHECK(std::isnan(at(Tensor(max<axis<0>>(x)), column)));
            CHECK(std::isnan(at(Tensor(min<axis<0>>(x)), column)));
            CHECK(std::isnan(max(x).item()));
            CHECK(std::isnan(min(x).item()));
            CHECK(!std::isnan(at(Tensor(max<axis<1>>(x)), 0)));
            CHECK(std::isnan(at(Tensor(relu(x)), 1, column)));
            CHECK(std::isnan(at(Tensor(max(x, 0.5)), 1, column)));
            CHECK(std::isnan(at(Tensor(min(0.5, x)), 1, column)));
        }
}
