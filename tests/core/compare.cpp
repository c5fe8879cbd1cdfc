#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tenon/core/compare.hpp>
#include <tenon/op/view/view.hpp>

using namespace tenon;

using Matrix = Tensor<double, Shape<2, 3>>;

TEST_CASE("tensors are equal if extents and elements are, whatever their types leave open") {
    const auto x = Matrix::of({1, 2, 3, 4, 5, 6});
    CHECK(x == x.clone());
    CHECK(x == Tensor<double, Shape<dyn, dyn>>(x.clone()));
    CHECK(x == transpose(Tensor<double, Shape<3, 2>>::of({1, 4, 2, 5, 3, 6})));
    CHECK(x != Matrix::of({1, 2, 3, 4, 5, 7}));
    CHECK(x != (Tensor<double, Shape<3, 2>>::of({1, 2, 3, 4, 5, 6})));
    CHECK(x != (Tensor<double, Shape<6>>::of({1, 2, 3, 4, 5, 6})));
    CHECK((Tensor<int, Shape<dyn>>::zeros(0) == Tensor<int, Shape<dyn>>::zeros(0)));
    const auto nan = Tensor<double, Shape<>>::of({std::nan("")});
    CHECK(nan != nan);
}

TEST_CASE("closeness is absolute and relative to the reference") {
    const auto x = Tensor<double, Shape<2>>::of({100, 1e-9}), y = Tensor<double, Shape<2>>::of({100.0005, 0});
    CHECK(all_close(x, y));
    CHECK_FALSE(all_close(x, y, {.relative = 1e-6}));
    CHECK_FALSE(all_close(x, y, {.absolute = 0}));
    CHECK(all_close(x, Tensor<float, Shape<dyn>>::of({100, 0}, 2)));
    const double infinity = std::numeric_limits<double>::infinity();
    const auto far = Tensor<double, Shape<2>>::of({infinity, -infinity});
    CHECK(all_close(far, far));
    CHECK_FALSE(all_close(far, Tensor<double, Shape<2>>::of({infinity, infinity})));
    const auto nan = Tensor<double, Shape<>>::of({std::nan("")});
    CHECK_FALSE(all_close(nan, nan, {.relative = 10}));
}

TEST_CASE("the relative error is the norm of the difference over that of the reference") {
    const auto reference = Tensor<double, Shape<2>>::of({3, 4}), x = Tensor<double, Shape<2>>::of({3, 4.5});
    CHECK(relative_error(x, reference) == doctest::Approx(0.1));
    CHECK(relative_error(reference, reference) == 0);
    const auto zero = Tensor<double, Shape<2>>::zeros();
    CHECK(relative_error(zero, zero) == 0);
    CHECK(std::isinf(relative_error(x, zero)));
    CHECK(std::isnan(relative_error(Tensor<double, Shape<2>>::of({3, std::nan("")}), reference)));
}

TEST_CASE("comparing different extents, known only now, says so") {
    const auto x = Tensor<double, Shape<dyn>>::zeros(3), y = Tensor<double, Shape<dyn>>::zeros(4);
    CHECK_FALSE(x == y);
    CHECK_THROWS_WITH_AS(all_close(x, y), "compared_extents_differ<Shape<3>, Shape<4>>", ShapeError);
    CHECK_THROWS_AS(relative_error(x, y), ShapeError);
}
