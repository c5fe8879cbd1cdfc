#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/expression/cpu.hpp>
#include <tenon/op/embedding/cpu.hpp>
#include <tenon/op/view/cpu.hpp>

#include "../support.hpp"

using namespace tenon;
using support::numbers;

TEST_CASE("rows are looked up by ids of any integer type and shape") {
    const auto weight = numbers<float, Shape<7, 5>>(1);
    const auto ids = Tensor<std::uint16_t, Shape<2, dyn>>::of({6, 0, 3, 3, 1, 6}, 3);
    const auto y = embedding(weight, ids);
    static_assert(std::same_as<decltype(y), const Tensor<float, Shape<2, dyn, 5>>>);
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 3; ++j)
            for (int k = 0; k < 5; ++k) CHECK(y(i, j, k) == weight(ids(i, j), k));
    CHECK(embedding(weight, Tensor<std::int64_t, Shape<>>::of({4}))(2) == weight(4, 2));
    CHECK(embedding(weight, Tensor<int, Shape<dyn>>::zeros(0)).size() == 0);
    CHECK(embedding(cast<bf16>(weight), ids)(1, 2, 4) == bf16(weight(6, 4)));
}

TEST_CASE("an id outside of the table is an error that names it") {
    const auto weight = numbers<float, Shape<dyn, 5>>(1, 7);
    CHECK_THROWS_WITH_AS(embedding(weight, Tensor<int, Shape<3>>::of({0, 1, 7})),
                         "embedding: expected ids below 7, got 7 at position 2", Error);
    CHECK_THROWS_AS(embedding(weight, Tensor<int, Shape<1>>::of({-1})), Error);
}

TEST_CASE("the gradient adds up over the ids that repeat") {
    const auto ids = Tensor<int, Shape<2, 4>>::of({0, 3, 3, 1, 3, 0, 6, 6});
    for (const int width : {1, 5, 40}) {
        auto weight = support::parameter<Shape<7, dyn>>(1, width);
        CHECK(gradient_error([&](auto w) { return embedding(w, ids); }, weight) < 1e-6);
        // Twice from one table: the second contribution accumulates.
        CHECK(gradient_error([&](auto w) { return Tensor(embedding(w, ids) * embedding(w, ids)); }, weight) <
              1e-6);
    }
}

TEST_CASE("the gradient has the same bits for any number of threads") {
    auto ids = Tensor<int, Shape<dyn>>::uninitialized(5000);
    for (int i = 0; i < 5000; ++i) ids(i) = i * i % 37;
    const auto seed = numbers<double, Shape<5000, 130>>(2);
    CHECK(support::same_for_any_thread_count([&] {
        const auto weight = support::parameter<Shape<37, 130>>(1);
        backward(embedding(weight, ids), seed.span());
        return support::values(weight.accumulated_gradient());
    }));
}
