#include <doctest/doctest.h>

#include <tenon/core/mismatch.hpp>
#include <tenon/core/shape.hpp>

using namespace tenon;

namespace {

template <class A, class B>
using BroadcastShape = ShapeOf<Broadcast<A, B>>;

}  // namespace

TEST_CASE("a shape is a type that knows its extents") {
    using S = Shape<8, upto<2048>, dyn, 768>;
    static_assert(S::rank == 4 && !S::is_static && S::dynamic_count == 2);
    static_assert(Shape<2, 3>::is_static && Shape<2, 3>::dynamic_count == 0);
    static_assert(Shape<>::rank == 0 && Shape<>::is_static && Shape<>::codes.count() == 1);
    static_assert(is_shape<S> && !is_shape<int>);
    CHECK(S::codes == Extents(8, extent_code(upto<2048>), extent_code(dyn), 768));
    CHECK(detail::shape_text(S::codes) == "Shape<8, upto<2048>, dyn, 768>");
    CHECK(detail::shape_text(Extents()) == "Shape<>");
}

TEST_CASE("broadcasting aligns axes at the end and refines what it can") {
    static_assert(std::same_as<BroadcastShape<Shape<4, 3>, Shape<3>>, Shape<4, 3>>);
    static_assert(std::same_as<BroadcastShape<Shape<4, 1>, Shape<1, 3>>, Shape<4, 3>>);
    static_assert(std::same_as<BroadcastShape<Shape<2, 1, 3>, Shape<4, 1>>, Shape<2, 4, 3>>);
    static_assert(std::same_as<BroadcastShape<Shape<>, Shape<4, dyn>>, Shape<4, dyn>>);
    // An open extent may turn out to be 1, so that beside an exact one the result is exact, and beside
    // another open.
    static_assert(std::same_as<BroadcastShape<Shape<dyn>, Shape<3>>, Shape<3>>);
    static_assert(std::same_as<BroadcastShape<Shape<upto<8>>, Shape<3>>, Shape<3>>);
    static_assert(std::same_as<BroadcastShape<Shape<dyn>, Shape<upto<8>>>, Shape<dyn>>);
    static_assert(std::same_as<BroadcastShape<Shape<upto<8>>, Shape<upto<8>>>, Shape<upto<8>>>);
    static_assert(std::same_as<BroadcastShape<Shape<dyn>, Shape<1>>, Shape<dyn>>);
    CHECK(broadcast_rule(Extents(4, 3), Extents(3)).ok());
    CHECK_FALSE(broadcast_rule(Extents(4, 3), Extents(4)).ok());
    CHECK_FALSE(broadcast_rule(Extents(extent_code(upto<2>)), Extents(3)).ok());
    CHECK(broadcast_rule(Extents(0, 3), Extents(1, 1)).extents == Extents(0, 3));
}

TEST_CASE("which tensors may become which") {
    CHECK(may_convert(Shape<4, 3>::codes, Shape<dyn, 3>::codes));
    CHECK(may_convert(Shape<dyn, 3>::codes, Shape<4, 3>::codes));
    CHECK(may_convert(Shape<4>::codes, Shape<upto<4>>::codes));
    CHECK_FALSE(may_convert(Shape<5>::codes, Shape<upto<4>>::codes));
    CHECK_FALSE(may_convert(Shape<4, 3>::codes, Shape<4>::codes));
    CHECK_FALSE(may_convert(Shape<4, 3>::codes, Shape<3, 4>::codes));
}

TEST_CASE("products written in types") {
    static_assert(std::same_as<decltype(times<4, 8>), const int> && times<4, 8> == 32);
    static_assert(std::same_as<decltype(times<4, dyn>), const extent::dyn>);
    static_assert(std::same_as<Shape<times<4, upto<8>>>, Shape<upto<32>>>);
}
