#include <limits>
#include <sstream>

#include <doctest/doctest.h>

#include <tenon/core/print.hpp>
#include <tenon/op/view/view.hpp>

using namespace tenon;

TEST_CASE("a tensor prints as its shape and nested brackets") {
    CHECK(to_string(Tensor<float, Shape<>>::of({2.5f})) == "Shape<>\n2.5");
    CHECK(to_string(Tensor<int, Shape<3>>::of({1, -2, 3})) == "Shape<3>\n[1, -2, 3]");
    CHECK(to_string(Tensor<double, Shape<2, 3>>::of({1, 2, 3, 4, 5, 1e-7})) ==
          "Shape<2, 3>\n"
          "[[1, 2, 3],\n"
          " [4, 5, 1e-07]]");
    CHECK(to_string(Tensor<int, Shape<2, 1, 2>>::of({1, 2, 3, 4})) ==
          "Shape<2, 1, 2>\n"
          "[[[1, 2]],\n"
          "\n"
          " [[3, 4]]]");
}

TEST_CASE("run-time lengths, empty axes, and nothing at all") {
    CHECK(to_string(Tensor<float, Shape<dyn, upto<4>>>::zeros(1, 2)) == "Shape<1, 2>\n[[0, 0]]");
    CHECK(to_string(Tensor<float, Shape<dyn>>::zeros(0)) == "Shape<0>\n[]");
    CHECK(to_string(Tensor<float, Shape<2>>()) == "Shape<2>\n(holds nothing)");
}

TEST_CASE("the middle of a long axis is left out") {
    auto x = Tensor<int, Shape<2, 9>>::uninitialized();
    for (int i = 0; i < 18; ++i) x.data()[i] = i;
    CHECK(to_string(x) ==
          "Shape<2, 9>\n"
          "[[0, 1, 2, ..., 6, 7, 8],\n"
          " [9, 10, 11, ..., 15, 16, 17]]");
    CHECK(to_string(Tensor<int, Shape<9, 1>>::zeros()) ==
          "Shape<9, 1>\n[[0],\n [0],\n [0],\n ...,\n [0],\n [0],\n [0]]");
    CHECK(to_string(Tensor<int, Shape<8>>::zeros()) == "Shape<8>\n[0, 0, 0, 0, 0, 0, 0, 0]");
}

TEST_CASE("any element type, views, and streams") {
    const auto halves = Tensor<bf16, Shape<2>>::filled(bf16(0.5f));
    CHECK(to_string(halves) == "Shape<2>\n[0.5, 0.5]");
    CHECK(to_string(Tensor<f16, Shape<1>>::filled(f16(-3.f))) == "Shape<1>\n[-3]");
    CHECK(to_string(Tensor<std::uint8_t, Shape<2>>::of({65, 255})) == "Shape<2>\n[65, 255]");
    CHECK(to_string(Tensor<bool, Shape<2>>::of({true, false})) == "Shape<2>\n[1, 0]");
    CHECK(to_string(Tensor<double, Shape<1>>::of({-std::numeric_limits<double>::infinity()})) ==
          "Shape<1>\n[-inf]");
    const auto x = Tensor<int, Shape<2, 3>>::of({1, 2, 3, 4, 5, 6});
    std::ostringstream stream;
    stream << transpose(x);
    CHECK(stream.str() == "Shape<3, 2>\n[[1, 4],\n [2, 5],\n [3, 6]]");
    CHECK(to_string(slice<1, 1, 3>(x)) == "Shape<2, 2>\n[[2, 3],\n [5, 6]]");
}
