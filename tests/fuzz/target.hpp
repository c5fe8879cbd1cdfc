#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <span>
#include <string_view>

#include <tenon/core/error.hpp>

namespace fuzz {

/// What is called with bytes of any kind: whatever they are, the only exceptions that may arise inside are
/// tenon's.
using Function = void (*)(const std::uint8_t* data, std::size_t size);

/// Those of all files that are linked, by name.
inline std::map<std::string_view, Function> targets;

struct Target {
    Target(std::string_view name, Function function) { targets.emplace(name, function); }
};

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

/// Runs `parse`, which may refuse its input by one of tenon's exceptions, with a message.
template <class Parse>
void expect_value_or_error(Parse&& parse) {
    try {
        parse();
    } catch (const tenon::Error& error) {
        if (std::string_view(error.what()).empty()) std::abort();
    }
}

/// What must hold whatever the input is. Not an assertion: it is checked in every build.
inline void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "does not hold: %s\n", what);
    std::abort();
}

}  // namespace fuzz
