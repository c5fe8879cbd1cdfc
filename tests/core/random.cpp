#include <algorithm>
#include <cmath>
#include <cstdint>

#include <doctest/doctest.h>

#include <tenon/core/random.hpp>

using namespace tenon;

namespace {

void check_words(const Philox::Block& block, std::uint32_t a, std::uint32_t b, std::uint32_t c,
                 std::uint32_t d) {
    CHECK(block.word[0] == a);
    CHECK(block.word[1] == b);
    CHECK(block.word[2] == c);
    CHECK(block.word[3] == d);
}

}  // namespace

TEST_CASE("Philox gives the known answers of its authors' library, Random123") {
    check_words(Philox(seed(0), 0)(0), 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
    constexpr std::uint64_t ones = ~std::uint64_t{0};
    check_words(Philox(seed(ones), ones)(ones), 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd);
    check_words(Philox(seed(0x299f31d0a4093822), 0x0370734413198a2e)(0x85a308d3243f6a88), 0xd16cfe09,
                0x94fdcceb, 0x5001e420, 0x24126ea1);
}

TEST_CASE("uniform numbers fill [0, 1) evenly, and streams and seeds differ") {
    const Philox random(seed(7), 3);
    int counts[10] = {};
    for (std::uint64_t i = 0; i < 100'000; ++i) {
        const double x = random.uniform(i);
        REQUIRE(x >= 0);
        REQUIRE(x < 1);
        ++counts[static_cast<int>(10 * x)];
    }
    for (const int count : counts) CHECK(std::abs(count - 10'000) < 400);  // four standard deviations
    CHECK(random.uniform(5) != Philox(seed(7), 4).uniform(5));
    CHECK(random.uniform(5) != Philox(seed(8), 3).uniform(5));
    CHECK(random.uniform(5) == Philox(seed(7), 3).uniform(5));
}

TEST_CASE("numbers below a count") {
    const Philox random(seed(1));
    int counts[7] = {};
    for (std::uint64_t i = 0; i < 70'000; ++i) {
        const std::uint64_t x = random.below(7, i);
        REQUIRE(x < 7);
        ++counts[x];
    }
    for (const int count : counts) CHECK(std::abs(count - 10'000) < 400);
    CHECK(random.below(1, 9) == 0);
    for (std::uint64_t i = 0; i < 100; ++i)
        CHECK(random.below(std::uint64_t{1} << 63, i) < std::uint64_t{1} << 63);
}

TEST_CASE("normal numbers have a normal's moments and tail") {
    const Philox random(seed(42), 1);
    constexpr int count = 200'000;
    double sum = 0, squares = 0, cubes = 0, fourths = 0;
    int beyond_two = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        const double x = random.normal(i);
        REQUIRE(std::isfinite(x));
        sum += x, squares += x * x, cubes += x * x * x, fourths += x * x * x * x;
        beyond_two += std::abs(x) > 2;
    }
    CHECK(std::abs(sum / count) < 0.01);
    CHECK(std::abs(squares / count - 1) < 0.015);
    CHECK(std::abs(cubes / count) < 0.04);
    CHECK(std::abs(fourths / count - 3) < 0.1);
    CHECK(std::abs(static_cast<double>(beyond_two) / count - 0.0455) < 0.002);
}

TEST_CASE("the quantile function of the normal distribution is accurate from the middle to the tails") {
    CHECK(detail::normal_quantile(0.5) == 0);
    CHECK(detail::normal_quantile(0.975) == doctest::Approx(1.959963984540054).epsilon(1e-15));
    CHECK(detail::normal_quantile(0.0013498980316300945) == doctest::Approx(-3).epsilon(1e-14));
    CHECK(detail::normal_quantile(1e-20) == doctest::Approx(-9.262340089798408).epsilon(1e-14));
}

TEST_CASE("truncated normals stay within three standard deviations and keep the shape") {
    const Philox random(seed(42), 1);
    constexpr int count = 100'000;
    double squares = 0, greatest = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        const double x = random.truncated_normal(i);
        greatest = std::max(greatest, std::abs(x));
        squares += x * x;
    }
    CHECK(greatest <= 3);
    CHECK(greatest > 2.98);
    // The variance of a standard normal cut at 3: 1 - 6 density(3) / (1 - 2 tail(3)).
    CHECK(std::abs(squares / count - 0.9733) < 0.012);
}
