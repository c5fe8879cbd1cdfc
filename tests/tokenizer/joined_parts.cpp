#include "tenon/tokenizer/joined_parts.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "tenon/core/huge_pages.hpp"
#include "tenon/core/parallel.hpp"

using namespace tenon;

TEST_CASE("parts are joined in their order, in whatever order they are made") {
    for (const std::vector<std::size_t>& order : {std::vector<std::size_t>{0, 1, 2}, {2, 1, 0}, {1, 2, 0}}) {
        detail::JoinedParts<int> parts(1);
        std::vector<int> made[] = {{1, 2}, {}, {3}};
        for (const std::size_t part : order) parts.add(part, made[part]);
        CHECK(std::move(parts).joined() == std::vector<int>{1, 2, 3});
    }
    CHECK(detail::JoinedParts<int>(0).joined().empty());
}

TEST_CASE("threads may make the parts") {
    set_thread_count(4);
    constexpr std::size_t count = 500;
    detail::JoinedParts<std::size_t> parts(0);
    parallel_for_each(count, [&](std::int64_t task) {
        const auto part = static_cast<std::size_t>(task);
        std::vector<std::size_t> elements(part % 7, part);
        parts.add(part, elements);
    });
    std::vector<std::size_t> expected;
    for (std::size_t part = 0; part < count; ++part) expected.insert(expected.end(), part % 7, part);
    CHECK(std::move(parts).joined() == expected);
}

TEST_CASE("large memory may lie in huge pages") {
    std::vector<int> elements{1, 2};
    detail::reserve_in_huge_pages(elements, std::size_t{3} << 20);
    CHECK(elements.capacity() >= std::size_t{3} << 20);
    elements.resize(std::size_t{3} << 20, 4);
    CHECK(elements.front() == 1);
    CHECK(elements.back() == 4);
    CHECK(detail::make_in_huge_pages<int>(std::size_t{3} << 20) == std::vector<int>(std::size_t{3} << 20));
    CHECK(detail::make_in_huge_pages<int>(3) == std::vector<int>(3));
}
