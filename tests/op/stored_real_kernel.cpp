// Operations that read a matrix of StoredReal: each gives, to the last bit, what it does with the same
// numbers as floats.

#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/core/cast.hpp>
#include <tenon/tenon.hpp>

#include "../support.hpp"

using namespace tenon;
using support::values;

namespace {

template <class T, class S>
Tensor<StoredReal, S> stored(const Tensor<T, S>& x) {
    return {x.storage(), {x.data(), element_type_of<T>()}, x.extents()};
}

/// Random numbers of H, as they are and as floats.
template <class H, class S>
struct Forms {
    Tensor<H, S> narrow = support::numbers<H, S>(1);
    Tensor<float, S> wide = cast<float>(narrow);
    Tensor<StoredReal, S> matrix = stored(narrow);
};

constexpr MatmulOptions right{.transpose_right = true};

}  // namespace

TEST_CASE_TEMPLATE("products", H, float, bf16, f16) {
    const Forms<H, Shape<35, 50>> of;
    const auto check = [&]<int rows>(std::integral_constant<int, rows>) {
        const auto x = support::numbers<float, Shape<rows, 50>>(2);
        const auto y = support::numbers<float, Shape<rows, 35>>(3);
        CHECK(values(matmul<right>(x, of.matrix)) == values(matmul<right>(x, of.wide)));
        CHECK(values(matmul<right>(x, of.narrow)) == values(matmul<right>(x, of.wide)));
        CHECK(values(matmul(y, of.matrix)) == values(matmul(y, of.wide)));
        CHECK(values(matmul<right>(y, transpose(of.matrix))) == values(matmul(y, of.wide)));
        const auto bias = support::numbers<float, Shape<35>>(4);
        CHECK(values(matmul_add<right>(x, of.matrix, bias, y)) ==
              values(matmul_add<right>(x, of.wide, bias, y)));
        CHECK(values(Logits(x, of.matrix, {.scale = 0.5, .soft_cap = 2}).tensor()) ==
              values(Logits(x, of.wide, {.scale = 0.5, .soft_cap = 2}).tensor()));
    };
    check(std::integral_constant<int, 1>());
    check(std::integral_constant<int, 5>());
    check(std::integral_constant<int, 29>());
}

TEST_CASE_TEMPLATE("products with a matrix for each head, as latent attention has them", H, float, bf16,
                   f16) {
    const Forms<H, Shape<21, 40>> of;
    const auto by_head = split_axis<0, 3, 7>(of.matrix);
    const auto wide_by_head = split_axis<0, 3, 7>(of.wide);
    const auto x = support::numbers<float, Shape<3, 2, 40>>(2);
    const auto y = support::numbers<float, Shape<3, 2, 7>>(3);
    CHECK(values(matmul<right>(x, by_head)) == values(matmul<right>(x, wide_by_head)));
    CHECK(values(matmul(y, by_head)) == values(matmul(y, wide_by_head)));
    const auto turned = transpose<0, 1>(support::numbers<float, Shape<2, 3, 7>>(4));
    CHECK(values(matmul(turned, by_head)) == values(matmul(turned, wide_by_head)));
    // As a file has them that keeps matrices transposed.
    const auto strided = split_axis<0, 5, 8>(transpose(of.matrix));
    const auto wide_strided = split_axis<0, 5, 8>(transpose(of.wide));
    const auto z = support::numbers<float, Shape<5, 2, 21>>(5);
    CHECK(values(matmul<right>(z, strided)) == values(matmul<right>(z, wide_strided)));
}

TEST_CASE_TEMPLATE("products of groups", H, float, bf16, f16) {
    const Forms<H, Shape<3, 20, 33>> of;
    const auto x = support::numbers<float, Shape<40, 33>>(2);
    const auto begins = Tensor<std::int32_t, Shape<4>>::of({1, 3, 3, 38});
    CHECK(values(grouped_matmul(x, of.matrix, begins)) == values(grouped_matmul(x, of.wide, begins)));
}

TEST_CASE_TEMPLATE("lookups", H, float, bf16, f16) {
    const Forms<H, Shape<9, 37>> of;
    const auto ids = Tensor<std::int32_t, Shape<2, 3>>::of({8, 0, 3, 3, 7, 1});
    const auto rows = embedding(of.matrix, ids);
    static_assert(std::same_as<typename decltype(rows)::value_type, float>);
    CHECK(values(rows) == values(embedding(of.wide, ids)));
    CHECK_THROWS_AS(embedding(of.matrix, Tensor<std::int32_t, Shape<1>>::of({9})), Error);
}

TEST_CASE_TEMPLATE("losses of lazy logits", H, float, bf16, f16) {
    const Forms<H, Shape<2100, 24>> of;  // of two chunks
    const auto x = support::numbers<float, Shape<3, 24>>(2);
    const auto targets = Tensor<std::int32_t, Shape<3>>::of({2099, 0, 700});
    CHECK(values(token_losses(Logits(x, of.matrix), targets)) ==
          values(token_losses(Logits(x, of.wide), targets)));
}

TEST_CASE("parameters") {
    const Parameter<StoredReal, Shape<4, 6>, Cpu, Untracked> own(Role::matrix);
    CHECK(own.type == ElementType::f32);
    Parameter<StoredReal, Shape<4, 6>, Cpu, Untracked> parameter(Role::matrix);
    const Forms<bf16, Shape<4, 6>> of;
    parameter.type = ElementType::bf16;
    parameter.storage = of.narrow.storage();
    parameter.data = of.narrow.data();
    const auto x = support::numbers<float, Shape<2, 6>>(2);
    CHECK(values(matmul<right>(x, parameter)) == values(matmul<right>(x, of.wide)));
}
