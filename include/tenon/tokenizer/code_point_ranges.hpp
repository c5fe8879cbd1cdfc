#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace tenon::detail {

struct CodePointRange {
    char32_t first;
    char32_t last;
};

/// Whether one of the ranges, which ascend, holds a code point.
template <std::size_t count>
constexpr bool contains(const CodePointRange (&ranges)[count], char32_t code_point) {
    const CodePointRange* const range =
        std::lower_bound(std::begin(ranges), std::end(ranges), code_point,
                         [](const CodePointRange& range, char32_t value) { return range.last < value; });
    return range != std::end(ranges) && range->first <= code_point;
}

}  // namespace tenon::detail
