#pragma once

#include <cstdint>

namespace tenon {

/// Whose regular expressions they are, where these differ.
enum class RegexDialect : std::uint8_t {
    /// Hugging Face's, of Oniguruma: ^ and $ are of lines, (?m) lets . match newlines, a{1,3}+ is
    /// (?:a{1,3})+ and a{2}? is (?:a{2})?, (?i) leaves \p{Lu} by itself as it is.
    oniguruma,
    /// tiktoken's, of Rust: ^ and $ are of the text but with (?m) of lines, (?s) lets . match newlines,
    /// a{1,3}+ is possessive and a{2}? lazy, with (?i) \p{Lu} is any letter with case.
    rust,
};

}  // namespace tenon
