#include "tenon/tokenizer/pre_tokenizers.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace tenon;
namespace p = tenon::pre_tokenizer;

namespace {

/// Each piece, and the bytes of the text that it comes from.
using Pieces = std::vector<std::pair<std::string, Span>>;

Pieces pieces(const PreTokenizer& steps, std::string_view text) {
    detail::CutText cut;
    cut.text.assign(text, 0, true);
    cut.start();
    for (const PreTokenizerStep& step : steps) step.apply(cut, true);
    Pieces result;
    for (const Span piece : cut.pieces)
        result.emplace_back(detail::part(cut.text.text(), piece), cut.text.source_of(piece));
    return result;
}

}  // namespace

// Expected values are those of Hugging Face tokenizers 0.23.3.

TEST_CASE("BertPreTokenizer cuts at whitespace, which it drops, and at punctuation") {
    CHECK(pieces({p::BertPreTokenizer{}}, "Hey, don't\u3000$5。中文!") == Pieces{{"Hey", {0, 3}},
                                                                                 {",", {3, 4}},
                                                                                 {"don", {5, 8}},
                                                                                 {"'", {8, 9}},
                                                                                 {"t", {9, 10}},
                                                                                 {"$", {13, 14}},
                                                                                 {"5", {14, 15}},
                                                                                 {"。", {15, 18}},
                                                                                 {"中文", {18, 24}},
                                                                                 {"!", {24, 25}}});
    CHECK(pieces({p::BertPreTokenizer{}}, " \n").empty());
    CHECK(pieces({p::BertPreTokenizer{}}, "").empty());
}

TEST_CASE("Whitespace finds words, and runs of what is neither a word nor a space") {
    CHECK(pieces({p::Whitespace{}}, "Hey  don't_1, 中文-é ①") == Pieces{{"Hey", {0, 3}},
                                                                        {"don", {5, 8}},
                                                                        {"'", {8, 9}},
                                                                        {"t_1", {9, 12}},
                                                                        {",", {12, 13}},
                                                                        {"中文", {14, 20}},
                                                                        {"-", {20, 21}},
                                                                        {"é", {21, 23}},
                                                                        {"①", {24, 27}}});
}

TEST_CASE("WhitespaceSplit cuts at whitespace alone") {
    CHECK(pieces({p::WhitespaceSplit{}}, " Hey  you,\u3000x\n") ==
          Pieces{{"Hey", {1, 4}}, {"you,", {6, 10}}, {"x", {13, 14}}});
}

TEST_CASE("what is looked for is removed, stands apart, or joins a neighbour or its like") {
    const auto split = [](SplitBehavior behavior, bool invert) {
        Pieces found = pieces({p::Split{TextPattern::literal("-"), behavior, invert}}, "a-b--c-");
        std::string joined;
        for (const auto& [piece, source] : found) joined += (joined.empty() ? "" : " ") + piece;
        return joined;
    };
    CHECK(split(SplitBehavior::removed, false) == "a b c");
    CHECK(split(SplitBehavior::isolated, false) == "a - b - - c -");
    CHECK(split(SplitBehavior::merged_with_previous, false) == "a- b- - c-");
    CHECK(split(SplitBehavior::merged_with_next, false) == "a -b - -c -");
    CHECK(split(SplitBehavior::contiguous, false) == "a - b -- c -");
    CHECK(split(SplitBehavior::removed, true) == "- - - -");
    CHECK(split(SplitBehavior::isolated, true) == "a - b - - c -");
    CHECK(split(SplitBehavior::merged_with_previous, true) == "a -b - -c -");
    CHECK(split(SplitBehavior::merged_with_next, true) == "a- b- - c-");
    CHECK(split(SplitBehavior::contiguous, true) == "a - b -- c -");
}

TEST_CASE("Split finds what a pattern matches") {
    CHECK(pieces({p::Split{TextPattern::regex(R"(\d{1,3})")}}, "ab1234c") ==
          Pieces{{"ab", {0, 2}}, {"123", {2, 5}}, {"4", {5, 6}}, {"c", {6, 7}}});
    CHECK(pieces({p::Split{TextPattern::regex("")}}, "abc") ==
          Pieces{{"a", {0, 1}}, {"b", {1, 2}}, {"c", {2, 3}}});
}

TEST_CASE("Punctuation cuts at punctuation") {
    const auto cut = [](SplitBehavior behavior) { return pieces({p::Punctuation{behavior}}, "a, b!!c?"); };
    CHECK(cut(SplitBehavior::removed) == Pieces{{"a", {0, 1}}, {" b", {2, 4}}, {"c", {6, 7}}});
    CHECK(cut(SplitBehavior::merged_with_next) ==
          Pieces{{"a", {0, 1}}, {", b", {1, 4}}, {"!", {4, 5}}, {"!c", {5, 7}}, {"?", {7, 8}}});
    CHECK(cut(SplitBehavior::contiguous) ==
          Pieces{{"a", {0, 1}}, {",", {1, 2}}, {" b", {2, 4}}, {"!!", {4, 6}}, {"c", {6, 7}}, {"?", {7, 8}}});
}

TEST_CASE("Digits cuts at numbers of any script, together or each") {
    CHECK(pieces({p::Digits{false}}, "a12b٣½") ==
          Pieces{{"a", {0, 1}}, {"12", {1, 3}}, {"b", {3, 4}}, {"٣½", {4, 8}}});
    CHECK(pieces({p::Digits{true}}, "a12b٣½") ==
          Pieces{{"a", {0, 1}}, {"1", {1, 2}}, {"2", {2, 3}}, {"b", {3, 4}}, {"٣", {4, 6}}, {"½", {6, 8}}});
}

TEST_CASE("CharDelimiterSplit cuts at one character") {
    CHECK(pieces({p::CharDelimiterSplit{"x"}}, "axbxxc") ==
          Pieces{{"a", {0, 1}}, {"b", {2, 3}}, {"c", {5, 6}}});
    CHECK(pieces({p::CharDelimiterSplit{"中"}}, "a中b") == Pieces{{"a", {0, 1}}, {"b", {4, 5}}});
}

TEST_CASE("FixedLength counts characters") {
    CHECK(pieces({p::FixedLength{2}}, "aé中bc") == Pieces{{"aé", {0, 3}}, {"中b", {3, 7}}, {"c", {7, 8}}});
}

TEST_CASE("ByteLevel cuts as GPT-2 does, and writes bytes as characters") {
    CHECK(pieces({p::ByteLevel{}}, "Hé you") == Pieces{{"ĠHÃ©", {0, 3}}, {"Ġyou", {3, 7}}});
    CHECK(pieces({p::ByteLevel{.add_prefix_space = false}}, " Hé  you's") ==
          Pieces{{"ĠHÃ©", {0, 4}}, {"Ġ", {4, 5}}, {"Ġyou", {5, 9}}, {"'s", {9, 11}}});
    CHECK(pieces({p::ByteLevel{.add_prefix_space = false, .use_regex = false}}, "a b é") ==
          Pieces{{"aĠbĠÃ©", {0, 6}}});
    CHECK(pieces({p::ByteLevel{}}, "").empty());
}

TEST_CASE("Metaspace puts a character in place of spaces and before the text, and cuts before it") {
    CHECK(pieces({p::Metaspace{}}, "Hey you  x") ==
          Pieces{{"▁Hey", {0, 3}}, {"▁you", {3, 7}}, {"▁", {7, 8}}, {"▁x", {8, 10}}});
    CHECK(pieces({p::Metaspace{}}, " Hey") == Pieces{{"▁Hey", {0, 4}}});
    CHECK(pieces({p::Metaspace{.prepend_scheme = PrependScheme::never}}, "Hey you") ==
          Pieces{{"Hey", {0, 3}}, {"▁you", {3, 7}}});
    CHECK(pieces({p::Metaspace{.split = false}}, "Hey you") == Pieces{{"▁Hey▁you", {0, 7}}});
    CHECK(pieces({p::Metaspace{.replacement = "_"}}, "a b_c") ==
          Pieces{{"_a", {0, 1}}, {"_b", {1, 3}}, {"_c", {3, 5}}});
}

TEST_CASE("of several pieces, each is prefixed, or the one that begins the text") {
    CHECK(pieces({p::WhitespaceSplit{}, p::Metaspace{}}, "Hey you") ==
          Pieces{{"▁Hey", {0, 3}}, {"▁you", {4, 7}}});
    CHECK(pieces({p::WhitespaceSplit{}, p::Metaspace{.prepend_scheme = PrependScheme::first}}, "Hey you") ==
          Pieces{{"▁Hey", {0, 3}}, {"you", {4, 7}}});
}

TEST_CASE("steps follow each other") {
    CHECK(pieces({p::WhitespaceSplit{}, p::Punctuation{}, p::Digits{true}}, "ab, c12!") ==
          Pieces{{"ab", {0, 2}}, {",", {2, 3}}, {"c", {4, 5}}, {"1", {5, 6}}, {"2", {6, 7}}, {"!", {7, 8}}});
}

TEST_CASE("bytes that are no UTF-8 are characters of no class") {
    CHECK(pieces({p::WhitespaceSplit{}}, "a\xFF \xC3") == Pieces{{"a\xFF", {0, 2}}, {"\xC3", {3, 4}}});
    CHECK(pieces({p::Whitespace{}}, "a\xFFz") == Pieces{{"a", {0, 1}}, {"\xFF", {1, 2}}, {"z", {2, 3}}});
}
