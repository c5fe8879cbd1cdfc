#include <doctest/doctest.h>

#include <tenon/autograd/gradient_check.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/op/embedding/embedding.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;
using support::numbers;

TEST_CASE("rows are looked up by ids of any integer type and shape") {
    const auto weight = numbers<float, Shape<7, 5>>(1);
    const auto ids = Tensor<std::uint16_t, Shape<2, dyn>, Device>::of({6, 0, 3, 3, 1, 6}, 3);
    const auto y = embedding(weight, ids);
    static_assert(std::same_as<decltype(y), const Tensor<float, Shape<2, dyn, 5>, Device>>);
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 3; ++j)
            for (int k = 0; k < 5; ++k) CHECK(at(y, i, j, k) == at(weight, at(ids, i, j), k));
    CHECK(at(embedding(weight, Tensor<std::int64_t, Shape<>, Device>::of({4})), 2) == at(weight, 4, 2));
    CHECK(embedding(weight, Tensor<int, Shape<dyn>, Device>::zeros(0)).size() == 0);
    CHECK(at(embedding(cast<bf16>(weight), ids), 1, 2, 4) == bf16(at(weight, 6, 4)));
}

TEST_CASE("an id outside of the table is an error that names it") {
    const auto weight = numbers<float, Shape<dyn, 5>>(1, 7);
    CHECK_THROWS_WITH_AS(support::values(embedding(weight, Tensor<int, Shape<3>, Device>::of({0, 1, 7}))),
                         "embedding: expected ids below 7, got 7 at position 2", Error);
    CHECK_THROWS_AS(support::values(embedding(weight, Tensor<int, Shape<1>, Device>::of({-1}))), Error);
}

TEST_CASE("the gradient adds up over the ids that repeat") {
    const auto ids = Tensor<int, Shape<2, 4>, Device>::of({0, 3, 3, 1, 3, 0, 6, 6});
    for (const int width : {1, 5, 40}) {
        auto weight = support::parameter<Shape<7, dyn>>(1, width);
        CHECK(gradient_error([&](auto w) { return embedding(w, ids); }, weight) < 1e-6);
        // Twice from one table: the second contribution accumulates.
        CHECK(gradient_error([&](auto w) { return Tensor(embedding(w, ids) * embedding(w, ids)); }, weight) <
              1e-6);
    }
}

TEST_CASE("the gradient has the same bits for any number of threads") {
    std::vector<int> squares;
    for (int i = 0; i < 5000; ++i) squares.push_back(i * i % 37);
    const auto ids = Tensor<int, Shape<dyn>, Device>::from(squares, 5000);
    const auto seed = numbers<double, Shape<5000, 130>>(2);
    CHECK(support::same_for_any_thread_count([&] {
        const auto weight = support::parameter<Shape<37, 130>>(1);
        backward(embedding(weight, ids), seed.span());
        return support::values(weight.accumulated_gradient());
    }));
}
