#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "support.hpp"
#include "tenon/tokenizer/block_kinds.hpp"
#include "tenon/tokenizer/byte_block.hpp"
#include "tenon/tokenizer/known_scanners.hpp"
#include "tenon/tokenizer/pattern_scanner.hpp"
#include "tenon/tokenizer/text_pattern.hpp"

using tenon::RegexDialect;
using tenon::detail::ByteBlock;
using tenon::detail::KnownPatterns;
using tenon::detail::PatternScanner;
using tenon::detail::PieceScanner;
using tenon::detail::PortableByteBlock;

namespace patterns = tenon::detail::patterns;

namespace {

using Pieces = std::vector<std::string>;

Pieces pieces_of(const PieceScanner& scanner, std::string_view text) {
    Pieces pieces;
    std::vector<std::size_t> ends(5);
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t count = scanner.scan(text, begin, ends);
        for (std::size_t i = 0; i < count; ++i) {
            pieces.emplace_back(text.substr(begin, ends[i] - begin));
            begin = ends[i];
        }
    }
    return pieces;
}

std::vector<std::string> strings(const std::vector<std::string_view>& views) {
    return {views.begin(), views.end()};
}

std::shared_ptr<const PieceScanner> known(std::string_view pattern) {
    return tenon::detail::known_scanner({std::string(pattern)}, RegexDialect::rust);
}

std::shared_ptr<const PieceScanner> scanner_of(const KnownPatterns& known) {
    return tenon::detail::known_scanner(strings(known.patterns), RegexDialect::rust);
}

/// The pieces that regular expressions cut, one after the other.
class Reference {
public:
    explicit Reference(const KnownPatterns& known) {
        for (const std::string_view pattern : known.patterns)
            scanners_.emplace_back(tenon::TextPattern::regex(
                std::string(pattern), known.is_of_rust ? RegexDialect::rust : RegexDialect::oniguruma));
    }

    Pieces pieces(std::string_view text) const {
        Pieces pieces = {std::string(text)};
        if (text.empty()) pieces.clear();
        for (const PatternScanner& scanner : scanners_) {
            Pieces cut;
            for (const std::string& piece : pieces) {
                for (std::string& part : pieces_of(scanner, piece)) cut.push_back(std::move(part));
            }
            pieces = std::move(cut);
        }
        return pieces;
    }

private:
    std::vector<PatternScanner> scanners_;
};

/// What the patterns tell apart, on top of what GPT-2's does.
std::vector<std::string> parts_of_text() {
    std::vector<std::string> parts = tokenizer_tests::text_parts();
    for (const char* part :
         {"'",      "'S",     "'LL",    "'Ve",    "'\u017F", "\u017F", "A",  "AB", "É",
          "ǅ",      "ʰ",      "\u0301", "\u0903", "\u20DD",  "123",    "4",  "/",  "//",
          "\n",     "\n\n",   "\r",     "\t",     "  ",      "\u00A0", "_",  "$",  "—",
          "\u200D", "\uE000", "\u0378", "かな",   "\u3040",  "\u3099", "・", "ー", "\u4DFF",
          "\u9FA6", "²",      "Ω",      "ß",      "\x01",    "<",      "#x"})
        parts.emplace_back(part);
    return parts;
}

}  // namespace

TEST_CASE("GPT-4 keeps one character before a word, and line ends after symbols") {
    const auto scanner = known(patterns::gpt4_possessive);
    REQUIRE(scanner);
    CHECK(pieces_of(*scanner, "Hello, (world)!\n\nIT'S") ==
          Pieces{"Hello", ",", " (", "world", ")!\n\n", "IT", "'S"});
    CHECK(pieces_of(*scanner, "\"quoted\"\tx") == Pieces{"\"quoted", "\"", "\tx"});
    CHECK(pieces_of(*scanner, "12345 678") == Pieces{"123", "45", " ", "678"});
    CHECK(pieces_of(*scanner, "a  \n \n  b") == Pieces{"a", "  \n \n", " ", " b"});
}

TEST_CASE("whitespace that ends the text is whole where the pattern says so") {
    CHECK(pieces_of(*known(patterns::llama3), "a\n  ") == Pieces{"a", "\n", "  "});
    CHECK(pieces_of(*known(patterns::gpt4_possessive), "a\n  ") == Pieces{"a", "\n  "});
}

TEST_CASE("Qwen cuts numbers into digits") {
    CHECK(pieces_of(*known(patterns::qwen2), "in 2025") == Pieces{"in", " ", "2", "0", "2", "5"});
    CHECK(pieces_of(*known(patterns::qwen35), "e\u0301a") == Pieces{"e\u0301a"});
    CHECK(pieces_of(*known(patterns::qwen2), "e\u0301a") == Pieces{"e", "\u0301a"});
}

TEST_CASE("GPT-4o cuts before capitals, and keeps contractions with their words") {
    const auto scanner = known(patterns::gpt4o);
    REQUIRE(scanner);
    CHECK(pieces_of(*scanner, "camelCase HTTPServer we'RE") ==
          Pieces{"camel", "Case", " HTTPServer", " we'RE"});
    CHECK(pieces_of(*scanner, "中ABC") == Pieces{"中", "ABC"});
    CHECK(pieces_of(*scanner, "中ABCd") == Pieces{"中ABCd"});
    CHECK(pieces_of(*scanner, "x+/\n/!") == Pieces{"x", "+/\n/", "!"});
}

TEST_CASE("DeepSeek V3 cuts out numbers, then Chinese and Japanese") {
    const auto scanner = tenon::detail::known_scanner(
        strings({patterns::three_digits, patterns::chinese_and_japanese, patterns::deepseek3}));
    REQUIRE(scanner);
    CHECK(pieces_of(*scanner, "tok1234中文かな한") == Pieces{"tok", "123", "4", "中文かな", "한"});
    CHECK(pieces_of(*scanner, "a  1") == Pieces{"a", "  ", "1"});
    CHECK(pieces_of(*scanner, "#include <a>") == Pieces{"#include", " <", "a", ">"});
    CHECK(pieces_of(*scanner, "\x01\x02\x03z") == Pieces{"\x01\x02", "\x03z"});
}

TEST_CASE("a pattern that is written otherwise has no scanner of its own") {
    CHECK_FALSE(known(std::string(patterns::llama3) + "|x"));
    CHECK_FALSE(tenon::detail::known_scanner(strings({patterns::gpt2, patterns::gpt2})));
}

TEST_CASE("a pattern that is written alike may mean something else to Oniguruma") {
    const std::vector<std::string> possessive = strings({patterns::gpt4_possessive});
    CHECK(tenon::detail::known_scanner(possessive, RegexDialect::rust));
    CHECK_FALSE(tenon::detail::known_scanner(possessive, RegexDialect::oniguruma));
}

TEST_CASE("scanners agree with their patterns on random text") {
    const std::vector<std::string> parts = parts_of_text();
    for (const KnownPatterns& patterns : tenon::detail::known_patterns()) {
        const auto scanner = scanner_of(patterns);
        const Reference reference(patterns);
        CAPTURE(patterns.patterns.back());
        std::mt19937 generator(1);
        int differences = 0;
        for (int i = 0; i < 6000; ++i) {
            const unsigned size = i % 2 == 0 ? 16 : 96;  // long ones are cut block by block
            const std::string text = i % 6 > 0
                                         ? tokenizer_tests::random_text(generator, parts, generator() % size)
                                         : tokenizer_tests::random_bytes(generator, generator() % size);
            const bool differs = pieces_of(*scanner, text) != reference.pieces(text);
            if (differs && differences == 0) {
                CAPTURE(text);
                CHECK(pieces_of(*scanner, text) == reference.pieces(text));
            }
            differences += differs;
        }
        CHECK(differences == 0);
    }
}

TEST_CASE("every code point is of the kind that its category says") {
    namespace kinds = tenon::detail::kinds;
    int differences = 0;
    for (char32_t c = 0; c < 0x110000; ++c) {
        if (c == '\r' || c == '\n') continue;
        const tenon::detail::KindSet kind = tenon::detail::kind_of(c);
        const bool is_space = tenon::is_white_space(c);
        differences += (kind == kinds::blank) != is_space;
        if (is_space) continue;
        differences += ((kind & kinds::letter) != 0) != tenon::is_letter(c);
        differences += (kind == kinds::mark) != tenon::is_mark(c);
        differences += (kind == kinds::number) != tenon::is_number(c);
        differences += (kind == kinds::symbol) != (tenon::is_punctuation(c) || tenon::is_symbol(c));
        differences += (kind == kinds::lowercase) !=
                       (tenon::general_category(c) == tenon::GeneralCategory::lowercase_letter);
    }
    CHECK(differences == 0);
}

TEST_CASE_TEMPLATE("a block of text tells which of its bytes lie in a range", Block, PortableByteBlock,
                   ByteBlock) {
    std::mt19937 generator(5);
    const auto bits = [](const std::string& text, auto&& is_in) {
        std::uint64_t bits = 0;
        for (std::size_t i = 0; i < 64; ++i)
            bits |= std::uint64_t{is_in(static_cast<unsigned char>(text[i]))} << i;
        return bits;
    };
    for (int i = 0; i < 2000; ++i) {
        std::string text(64, ' ');
        for (char& byte : text) byte = static_cast<char>(generator());
        const Block block(text.data());
        const auto side = static_cast<unsigned char>(generator() % 2 * 128);
        auto first = static_cast<unsigned char>(side + generator() % 128);
        auto last = static_cast<unsigned char>(side + generator() % 128);
        if (first > last) std::swap(first, last);
        CHECK(block.within(first, last) ==
              bits(text, [&](unsigned char byte) { return byte >= first && byte <= last; }));
        CHECK(block.beyond_ascii() == bits(text, [](unsigned char byte) { return byte >= 128; }));
        CHECK(block.letters() == bits(text, [](unsigned char byte) {
                  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
              }));
    }
}

TEST_CASE_TEMPLATE("a block of text has the kinds of its characters", Block, PortableByteBlock, ByteBlock) {
    namespace kinds = tenon::detail::kinds;
    const std::vector<std::string> parts = parts_of_text();
    std::mt19937 generator(6);
    int differences = 0, cut = 0;
    for (int i = 0; i < 3000; ++i) {
        std::string text = i % 3 > 0 ? tokenizer_tests::random_text(generator, parts, 64)
                                     : tokenizer_tests::random_bytes(generator, 64);
        text.resize(std::max<std::size_t>(text.size(), 64), '.');
        const char* const at = text.data();
        const char* const end = at + text.size();
        const auto block = tenon::detail::kinds_of_block<Block>(at, end, kinds::letter);
        std::size_t size = 0;
        while (size < block.size) {
            const auto character = tenon::detail::character_at(at + size, end);
            for (std::size_t byte = 0; byte < character.size; ++byte) {
                const std::uint64_t bit = std::uint64_t{1} << (size + byte);
                const bool is_blank = character.kind & kinds::blank;
                const bool is_symbol = character.kind & (kinds::symbol | kinds::mark | kinds::other);
                differences += ((block.letters & bit) != 0) != ((character.kind & kinds::letter) != 0);
                differences += ((block.numbers & bit) != 0) != ((character.kind & kinds::number) != 0);
                differences += ((block.line_ends & bit) != 0) != ((character.kind & kinds::line_end) != 0);
                differences += ((block.blanks & bit) != 0) != is_blank;
                differences += ((block.symbols & bit) != 0) != is_symbol;
                differences += ((block.continued & bit) != 0) != (byte > 0);
                differences += ((block.spaces & bit) != 0) != (at[size] == ' ');
                differences += ((block.apostrophes & bit) != 0) != (at[size] == '\'');
            }
            size += character.size;
        }
        differences += size != block.size;
        if (size == 64) continue;
        ++cut;
        const auto next = tenon::detail::character_at(at + size, end);
        differences += size + next.size <= 64 && !(next.kind & (kinds::whitespace | kinds::number));
    }
    CHECK(differences == 0);
    CHECK(cut > 100);
    CHECK(cut < 2900);
}

TEST_CASE("scanners agree with their patterns where kinds meet") {
    for (const KnownPatterns& patterns : tenon::detail::known_patterns()) {
        const auto scanner = scanner_of(patterns);
        const Reference reference(patterns);
        CAPTURE(patterns.patterns.back());
        std::mt19937 generator(3);
        int differences = 0;
        tenon::detail::KindSet last = 0;
        for (char32_t c = 1; c < 0x3400; ++c) {
            const bool is_new = c < 0x180 || tenon::detail::kind_of(c) != last;
            last = tenon::detail::kind_of(c);
            if (!is_new || (c >= 0x180 && (last & tenon::detail::kinds::letter))) continue;
            std::string text = "a", one;
            tenon::append_utf8(one, c);
            text += one + "b1" + one + "2 " + one + " !" + one + one + "?\n" + one + "A" + one;
            text += std::string(generator() % 64, '.') + text;  // where blocks of text end, too
            differences += pieces_of(*scanner, text) != reference.pieces(text);
        }
        CHECK(differences == 0);
    }
}

TEST_CASE("pieces that are settled stay whatever follows") {
    const std::vector<std::string> parts = parts_of_text();
    for (const KnownPatterns& patterns : tenon::detail::known_patterns()) {
        const auto scanner = scanner_of(patterns);
        CAPTURE(patterns.patterns.back());
        std::mt19937 generator(2);
        int differences = 0;
        for (int i = 0; i < 2000; ++i) {
            const std::string text = tokenizer_tests::random_text(generator, parts, generator() % 24);
            const Pieces whole = pieces_of(*scanner, text);
            for (std::size_t size = 0; size <= text.size(); ++size) {
                const std::string_view shown = std::string_view(text).substr(0, size);
                const std::size_t settled = scanner->settled(shown);
                std::size_t end = 0, count = 0;
                for (const std::string& piece : pieces_of(*scanner, shown)) {
                    if ((end += piece.size()) > settled) break;
                    differences += count >= whole.size() || whole[count] != piece;
                    ++count;
                }
            }
        }
        CHECK(differences == 0);
    }
}

TEST_CASE("pieces end before a space that follows another character, and hang on nothing before it") {
    const std::vector<std::string> parts = parts_of_text();
    for (const KnownPatterns& patterns : tenon::detail::known_patterns()) {
        const auto scanner = scanner_of(patterns);
        CAPTURE(patterns.patterns.back());
        std::mt19937 generator(3);
        int differences = 0;
        for (int i = 0; i < 4000; ++i) {
            const std::string before = tokenizer_tests::random_text(generator, parts, generator() % 12) +
                                       "." + parts[generator() % parts.size()];
            if (tenon::is_white_space(tenon::detail::last_character(before))) continue;
            const std::string after = " " + tokenizer_tests::random_text(generator, parts, generator() % 12);
            Pieces apart = pieces_of(*scanner, before);
            for (const std::string& piece : pieces_of(*scanner, after)) apart.push_back(piece);
            differences += apart != pieces_of(*scanner, before + after);
        }
        CHECK(differences == 0);
    }
}
