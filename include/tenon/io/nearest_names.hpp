#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tenon::detail {

/// The edits that turn one text into the other (Levenshtein 1966). Only the first 96 bytes count, so that no
/// name from a file makes a message slow.
inline std::size_t edit_distance(std::string_view first, std::string_view second) {
    constexpr std::size_t longest = 96;
    first = first.substr(0, longest);
    second = second.substr(0, longest);
    std::size_t row[longest + 1];
    for (std::size_t j = 0; j <= second.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= first.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= second.size(); ++j) {
            std::size_t replaced = diagonal + (first[i - 1] != second[j - 1]);
            diagonal = row[j];
            row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row[second.size()];
}

/// The end of a message about a missing name: the names of `items` (each has a `name`) nearest to it.
template <typename Items>
std::string nearest_names_message(std::string_view missing, const Items& items) {
    std::vector<std::pair<std::size_t, std::string_view>> nearest;
    for (const auto& item : items) {
        nearest.emplace_back(edit_distance(missing, item.name), item.name);
        std::sort(nearest.begin(), nearest.end());
        if (nearest.size() > 3) nearest.pop_back();
    }
    if (nearest.empty()) return "; there are no names at all";
    std::string message = "; the nearest names are";
    for (std::size_t i = 0; i < nearest.size(); ++i) {
        message += i == 0 ? " \"" : ", \"";
        message += nearest[i].second.substr(0, 200);
        message += '"';
    }
    return message;
}

}  // namespace tenon::detail
