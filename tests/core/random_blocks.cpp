#include <cstdint>

#include <doctest/doctest.h>

#include <tenon/core/random_blocks.hpp>

using namespace tenon;

TEST_CASE("the random words computed together are those computed one by one") {
    const Seed of_all = seed(0x123456789abcdef0);
    const std::uint64_t stream = 0xfedcba9876543210, first = 0xfffffff0;
    std::uint32_t words[4 * kernel::philox_blocks];
    kernel::philox_words(of_all, stream, first, words);
    const Philox philox(of_all, stream);
    for (std::uint64_t i = 0; i < 4 * kernel::philox_blocks; ++i)
        CHECK(words[i] == philox(first + i / 4).word[i % 4]);
}
