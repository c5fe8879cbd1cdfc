#include <doctest/doctest.h>

#include <tenon/core/extents.hpp>

using namespace tenon;

TEST_CASE("an extent's code says what is known of it") {
    static_assert(is_exact(extent_code(0)) && is_exact(extent_code(768)));
    static_assert(!is_exact(extent_code(dyn)) && !is_bounded(extent_code(dyn)));
    static_assert(!is_exact(extent_code(upto<5>)) && is_bounded(extent_code(upto<5>)));
    CHECK(bound_of(extent_code(upto<5>)) == 5);
    CHECK(bound_of(extent_code(7)) == 7);
    static_assert(ExtentType<int> && ExtentType<extent::dyn> && ExtentType<extent::upto<3>>);
    static_assert(!ExtentType<long> && !ExtentType<double> && !ExtentType<bool>);
}

TEST_CASE("extents conflict where no length can be both") {
    constexpr int three = extent_code(3), five = extent_code(5), open = extent_code(dyn),
                  upto4 = extent_code(upto<4>), upto2 = extent_code(upto<2>);
    const int codes[] = {three, five, open, upto4, upto2};
    const bool conflict[5][5] = {{false, true, false, false, true},
                                 {true, false, false, true, true},
                                 {false, false, false, false, false},
                                 {false, true, false, false, false},
                                 {true, true, false, false, false}};
    for (int i = 0; i < 5; ++i)
        for (int j = 0; j < 5; ++j) CHECK(extents_conflict(codes[i], codes[j]) == conflict[i][j]);
}

TEST_CASE("the more precise of two extents: exact, then the smaller bound, then dyn") {
    CHECK(refine_extent(3, extent_code(dyn)) == 3);
    CHECK(refine_extent(extent_code(upto<8>), 3) == 3);
    CHECK(refine_extent(extent_code(dyn), extent_code(upto<8>)) == extent_code(upto<8>));
    CHECK(refine_extent(extent_code(upto<4>), extent_code(upto<8>)) == extent_code(upto<4>));
    CHECK(refine_extent(extent_code(dyn), extent_code(dyn)) == extent_code(dyn));
}

TEST_CASE("products of extents") {
    CHECK(multiply_extents(3, 4) == 12);
    CHECK(multiply_extents(3, extent_code(upto<4>)) == extent_code(upto<12>));
    CHECK(multiply_extents(extent_code(upto<2>), extent_code(upto<4>)) == extent_code(upto<8>));
    CHECK(multiply_extents(extent_code(dyn), extent_code(upto<4>)) == extent_code(dyn));
    CHECK(multiply_extents(5, extent_code(dyn)) == extent_code(dyn));
}

TEST_CASE("the number of elements has 64 bits, and bounds count as lengths") {
    CHECK(Extents(50'000, 50'000, 4).count() == 10'000'000'000);
    CHECK(Extents(2, extent_code(upto<6>)).count() == 12);
    CHECK(Extents(2, 3, 4, 5).count(1) == 60);
    CHECK(Extents(2, 3, 4, 5).count(1, 3) == 12);
    CHECK(Extents().count() == 1);
    CHECK(Extents(4, 0, 2).count() == 0);
}

TEST_CASE("extents compare by rank and length, and read from their end as broadcasting does") {
    CHECK(Extents(2, 3) == Extents(2, 3));
    CHECK_FALSE(Extents(2, 3) == Extents(2, 3, 1));
    CHECK_FALSE(Extents(2, 3) == Extents(3, 2));
    CHECK(Extents(2, 3).from_end(0) == 3);
    CHECK(Extents(2, 3).from_end(1) == 2);
    CHECK(Extents(2, 3).from_end(2) == 1);
}

TEST_CASE("packed strides: the last axis is the fastest") {
    const Strides strides = row_major_strides(Extents(2, 3, 4));
    CHECK(strides[0] == 12);
    CHECK(strides[1] == 4);
    CHECK(strides[2] == 1);
    CHECK(row_major_strides(Extents(2, 70'000, 70'000))[0] == 4'900'000'000);
}
