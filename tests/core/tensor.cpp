#include <string>

#include <doctest/doctest.h>

#include <tenon/core/tensor.hpp>

using namespace tenon;

namespace {

template <class F>
std::string message_of(F&& f) {
    try {
        f();
    } catch (const ShapeError& error) {
        return error.what();
    }
    return "";
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("tensors are made filled, from values, or around memory of the caller's") {
    const auto zeros = Tensor<float, Shape<2, 3>>::zeros();
    for (float element : zeros.span()) CHECK(element == 0);
    const auto sevens = Tensor<int, Shape<dyn, 2>>::filled(7, 3);
    CHECK(sevens.size() == 6);
    CHECK(sevens(2, 1) == 7);
    const auto x = Tensor<double, Shape<2, 3>>::of({1, 2, 3, 4, 5, 6});
    CHECK(x(0, 0) == 1);
    CHECK(x(1, 0) == 4);
    CHECK(x(1, 2) == 6);
    double memory[] = {1, 2, 3, 4};
    auto borrowed = Tensor<double, Shape<2, dyn>>::borrow(memory, 2);
    borrowed(1, 1) = 9;
    CHECK(memory[3] == 9);
    CHECK(borrowed.data() == memory);
}

TEST_CASE("extents that the type leaves open are given in order, and checked") {
    const auto x = Tensor<float, Shape<upto<8>, 3, dyn>>::zeros(5, 2);
    CHECK(x.extents() == Extents(5, 3, 2));
    CHECK(x.extent(0) == 5);
    CHECK(x.extent(-1) == 2);
    CHECK(x.strides()[0] == 6);
    const std::string over = message_of([] { Tensor<float, Shape<upto<8>>>::zeros(9); });
    CHECK(contains(over, "assignment<Shape<9>, Shape<upto<8>>>"));
    CHECK_THROWS_AS((Tensor<float, Shape<dyn>>::zeros(-1)), ShapeError);
    CHECK_THROWS_AS((Tensor<float, Shape<3>>::of({1, 2})), ShapeError);
    CHECK_THROWS_AS((Tensor<float, Shape<3, 2>>::with_extents(Extents(2, 3))), ShapeError);
    CHECK(Tensor<float, Shape<dyn, 4>>::zeros(0).size() == 0);
}

TEST_CASE("copies share their elements, clones do not") {
    auto x = Tensor<int, Shape<3>>::of({1, 2, 3});
    auto shared = x;
    auto copied = x.clone();
    x(1) = 9;
    CHECK(shared(1) == 9);
    CHECK(copied(1) == 2);
    CHECK(shared.data() == x.data());
    // What is kept lives on after the tensor that it came from.
    const Tensor<int, Shape<3>> kept = [] { return Tensor<int, Shape<3>>::of({4, 5, 6}); }();
    CHECK(kept(2) == 6);
}

TEST_CASE("a default-constructed tensor holds nothing") {
    const Tensor<float, Shape<dyn, 3>> nothing;
    CHECK_FALSE(nothing.holds_elements());
    CHECK(nothing.extents() == Extents(0, 3));
    CHECK(Tensor<float, Shape<>>::zeros().holds_elements());
}

TEST_CASE("shapes convert where they fit, in both directions") {
    const auto fixed = Tensor<float, Shape<2, 3>>::of({1, 2, 3, 4, 5, 6});
    const Tensor<float, Shape<dyn, 3>> open = fixed;
    const Tensor<float, Shape<upto<4>, dyn>> bounded = open;
    const Tensor<float, Shape<2, 3>> back = bounded;
    CHECK(back.data() == fixed.data());
    CHECK(bounded.extents() == Extents(2, 3));
    const std::string text = message_of([&] { Tensor<float, Shape<4, 3>> wrong = open; });
    CHECK(contains(text, "assignment<Shape<2, 3>, Shape<4, 3>>"));
    const auto wide = Tensor<float, Shape<dyn>>::zeros(5);
    CHECK_THROWS_AS((Tensor<float, Shape<upto<4>>>(wide)), ShapeError);
    static_assert(!std::is_convertible_v<Tensor<float, Shape<2>>, Tensor<double, Shape<2>>>);
}

TEST_CASE("element access is checked") {
    auto x = Tensor<double, Shape<2, 3>>::of({1, 2, 3, 4, 5, 6});
    const std::string text = message_of([&] { x(1, 3); });
    CHECK(contains(text, "index 3 is outside axis 1 of Shape<2, 3>"));
    CHECK_THROWS_AS(x(-1, 0), ShapeError);
    CHECK_THROWS_AS(x.item(), ShapeError);
    CHECK((Tensor<double, Shape<>>::of({2.5}).item() == 2.5));
    CHECK((Tensor<double, Shape<1, 1>>::of({2.5}).item() == 2.5));
}

TEST_CASE("a static shape costs a handle nothing") {
    static_assert(sizeof(Tensor<float, Shape<8, 768>>) == 2 * sizeof(void*));
    static_assert(!Tensor<float, Shape<2>>::is_tracked && Tensor<float, Shape<2>, Cpu, Tracked>::is_tracked);
    CHECK(Tensor<float, Shape<8, 768>>::zeros().size() == 6144);
}

TEST_CASE("16-bit elements and integers") {
    const auto halves = Tensor<bf16, Shape<2>>::filled(bf16(1.5f));
    CHECK(float(halves(1)) == 1.5f);
    CHECK((Tensor<std::uint16_t, Shape<2>>::of({65535, 1})(0) == 65535));
    CHECK((Tensor<f16, Shape<2>>::zeros()(0) == f16(0.f)));
}

TEST_CASE("lengths that no memory could hold are refused") {
    using Cube = Tensor<float, Shape<dyn, dyn, dyn>>;
    CHECK(contains(message_of([] { Cube::uninitialized(1 << 20, 1 << 20, 1 << 22); }),
                   "Shape<1048576, 1048576, 4194304>"));
    CHECK(contains(message_of([] { Cube::with_extents(Extents(2, -3, 1)); }), "lengths of at least 0"));
}

TEST_CASE("a tensor that holds nothing says so where its elements are wanted") {
    Tensor<float, Shape<4>> x;
    CHECK_FALSE(x.holds_elements());
    CHECK(contains(message_of([&] { x(0) = 1; }), "a tensor that holds nothing"));
    CHECK(contains(message_of([&] { x.clone(); }), "a tensor that holds nothing"));
    CHECK(contains(message_of([] { Tensor<float, Shape<>>().item(); }), "a tensor that holds nothing"));
    CHECK(contains(message_of([&] { x.extent(1); }), "expected an axis of Shape<4>, got 1"));
}
