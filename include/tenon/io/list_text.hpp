#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tenon::detail {

/// "[2, 3]": a shape or an index, for messages.
inline std::string list_text(const std::vector<std::int64_t>& numbers) {
    std::string text = "[";
    for (std::size_t i = 0; i < numbers.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(numbers[i]);
    return text + "]";
}

}  // namespace tenon::detail
