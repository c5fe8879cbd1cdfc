#include <doctest/doctest.h>

#include <tenon/core/compare.hpp>
#include <tenon/core/eigen.hpp>
#include <tenon/op/view/view.hpp>

using namespace tenon;

TEST_CASE("Eigen sees a tensor where it lies") {
    auto x = Tensor<double, Shape<2, 3>>::of({1, 2, 3, 4, 5, 6});
    auto map = as_eigen(x);
    CHECK(map.rows() == 2);
    CHECK(map.cols() == 3);
    CHECK(map(1, 0) == 4);
    map(1, 0) = 40;
    CHECK(x(1, 0) == 40);
    static_assert(std::same_as<decltype(map), decltype(as_eigen(Tensor<double, Shape<7, 5>>()))>);
    const auto vector = Tensor<int, Shape<dyn>>::of({1, 2, 3}, 3);
    CHECK(as_eigen(vector).sum() == 6);
    CHECK(as_eigen(Tensor<float, Shape<dyn, 4>>::zeros(0)).rows() == 0);
}

TEST_CASE("views keep their strides") {
    const auto x = Tensor<double, Shape<2, 3>>::of({1, 2, 3, 4, 5, 6});
    const auto turned = transpose(x);
    CHECK(as_eigen(turned)(2, 1) == 6);
    CHECK(as_eigen(turned) == as_eigen(x).transpose());
    const auto part = slice<1, 1, 3>(x);
    CHECK(as_eigen(part).sum() == 2 + 3 + 5 + 6);
    const auto column = select<1>(x, 2);
    CHECK(as_eigen(column).sum() == 9);
    const auto repeated = broadcast_to<Shape<4, 3>>(select<0>(x, 1));
    CHECK(as_eigen(repeated).sum() == 4 * 15);
}

TEST_CASE("copies of Eigen's matrices, vectors and expressions") {
    Eigen::MatrixXd matrix(2, 3);  // column-major
    matrix << 1, 2, 3, 4, 5, 6;
    CHECK(from_eigen<Shape<2, 3>>(matrix) == (Tensor<double, Shape<2, 3>>::of({1, 2, 3, 4, 5, 6})));
    CHECK(from_eigen<Shape<dyn, dyn>>(matrix.transpose() * 2)(2, 1) == 12);
    CHECK(from_eigen<Shape<dyn, 3>>(matrix, 2)(1, 2) == 6);
    const Eigen::RowVector3f row(1, 2, 3);
    CHECK(from_eigen<Shape<3>>(row) == from_eigen<Shape<dyn>>(row.transpose().eval()));
    CHECK(from_eigen<Shape<1, 3>>(row)(0, 2) == 3);
    const auto copy = from_eigen<Shape<2, 3>>(matrix);
    matrix(0, 0) = 9;
    CHECK(copy(0, 0) == 1);
}

TEST_CASE("extents that differ throw with the words of the compile error") {
    const Eigen::MatrixXd matrix = Eigen::MatrixXd::Zero(2, 3);
    CHECK_THROWS_WITH_AS((from_eigen<Shape<3, 2>>(matrix)), "assignment<Shape<2, 3>, Shape<3, 2>>",
                         ShapeError);
    CHECK_THROWS_AS((from_eigen<Shape<upto<1>, dyn>>(matrix)), ShapeError);
    CHECK_THROWS_AS((from_eigen<Shape<dyn, dyn>>(matrix, 2, 4)), ShapeError);
    CHECK_THROWS_AS(from_eigen<Shape<dyn>>(matrix), ShapeError);
}
