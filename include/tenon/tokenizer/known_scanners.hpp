#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/piece_scanner.hpp"
#include "tenon/tokenizer/published_patterns.hpp"
#include "tenon/tokenizer/regex_dialect.hpp"
#include "tenon/tokenizer/word_scanners.hpp"

namespace tenon::detail {

/// Patterns, as files write them, and the scanner written for them.
struct KnownPatterns {
    std::vector<std::string_view> patterns;  // of which each cuts the pieces of the one before
    std::shared_ptr<const PieceScanner> (*make)(std::vector<std::string> patterns);
    bool is_of_rust = false;  // in the other dialect they mean something else
};

template <class Scanner>
std::shared_ptr<const PieceScanner> make_known_scanner(std::vector<std::string> patterns) {
    return std::make_shared<KnownScanner<Scanner>>(std::move(patterns));
}

/// All that have a scanner of their own.
inline const std::vector<KnownPatterns>& known_patterns() {
    using Contractions = WordRules::Contractions;
    static const std::vector<KnownPatterns> all = {
        {{patterns::gpt2}, make_known_scanner<Gpt2Scanner>},
        {{patterns::gpt2_spelled_out}, make_known_scanner<Gpt2Scanner>},
        {{patterns::gpt2_possessive}, make_known_scanner<Gpt2Scanner>, true},
        {{patterns::llama3}, make_known_scanner<WordScanner<WordRules{}>>},
        {{patterns::gpt4_half_possessive}, make_known_scanner<WordScanner<WordRules{}>>},
        {{patterns::gpt4_possessive}, make_known_scanner<WordScanner<WordRules{.ends_whole = true}>>, true},
        {{patterns::qwen2}, make_known_scanner<WordScanner<WordRules{.digits = 1}>>},
        {{patterns::qwen35},
         make_known_scanner<WordScanner<WordRules{.has_marks_in_words = true, .digits = 1}>>},
        {{patterns::gpt4o},
         make_known_scanner<WordScanner<WordRules{.contractions = Contractions::ends_of_words,
                                                  .cuts_before_capitals = true,
                                                  .takes_slashes = true}>>},
        {{patterns::tekken},
         make_known_scanner<WordScanner<WordRules{.contractions = Contractions::none,
                                                  .cuts_before_capitals = true,
                                                  .digits = 1,
                                                  .takes_slashes = true}>>},
        {{patterns::three_digits, patterns::chinese_and_japanese, patterns::deepseek3},
         make_known_scanner<DeepSeek3Scanner>},
    };
    return all;
}

/// The scanner written for patterns, or nothing.
inline std::shared_ptr<const PieceScanner> known_scanner(std::vector<std::string> patterns,
                                                         RegexDialect dialect = RegexDialect::oniguruma) {
    for (const KnownPatterns& known : known_patterns()) {
        if (known.is_of_rust && dialect != RegexDialect::rust) continue;
        if (std::equal(patterns.begin(), patterns.end(), known.patterns.begin(), known.patterns.end()))
            return known.make(std::move(patterns));
    }
    return nullptr;
}

}  // namespace tenon::detail
