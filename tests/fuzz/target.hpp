#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

#include <tenon/core/error.hpp>

/// What a fuzzer calls with bytes of its own. Returns 0; whatever the bytes are, the only exceptions that may
/// arise inside are tenon's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

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
