#include "tenon/tokenizer/stream.hpp"

#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "encoded.hpp"
#include "support.hpp"
#include "tenon/core/error.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/decoders.hpp"
#include "tenon/tokenizer/normalizers.hpp"
#include "tenon/tokenizer/post_processors.hpp"
#include "tenon/tokenizer/pre_tokenizers.hpp"
#include "tenon/tokenizer/word_piece.hpp"

using namespace tenon;
using namespace tokenizer_tests;

namespace {

using Ids = std::vector<TokenId>;

/// Of bytes, as GPT-2 cuts them, with some merges and a special token.
Tokenizer byte_level() {
    Vocabulary vocabulary;
    for (int byte = 0; byte < 256; ++byte) {
        const char character = static_cast<char>(byte);
        vocabulary.add(detail::written_bytes({&character, 1}), vocabulary.size());
    }
    detail::MergeTable merges;
    const auto merge = [&](std::string_view left, std::string_view right) {
        const TokenId result = vocabulary.size();
        merges.add(vocabulary.find(detail::written_bytes(left)),
                   vocabulary.find(detail::written_bytes(right)), {result, result});
        vocabulary.add(detail::written_bytes(std::string(left) + std::string(right)), result);
    };
    merge("a", "b");
    merge(" ", "ab");
    merge(" ", " ");
    merge("0", "1");
    merge("\r", "\n");
    TokenizerParts parts{BytePair(vocabulary, merges, {}, BytePairUnits::bytes)};
    parts.added_tokens = {{.content = "<|end|>", .id = 300, .special = true}};
    parts.pre_tokenizer = {pre_tokenizer::ByteLevel{.add_prefix_space = false}};
    parts.decoder = Decoder{decoder::ByteLevel{}};
    return Tokenizer(std::move(parts));
}

/// Of words, in lowercase, with a token before and after the text.
Tokenizer words() {
    TokenizerParts parts{
        WordPiece(vocabulary_of({"[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", "##b", "ab", "z", "."}), {})};
    parts.normalizer = {normalizer::BertNormalizer{}};
    parts.pre_tokenizer = {pre_tokenizer::BertPreTokenizer{}};
    parts.post_processor = {post_processor::BertProcessing{{"[SEP]", 2}, {"[CLS]", 1}}};
    parts.decoder = Decoder{decoder::WordPiece{}};
    return Tokenizer(std::move(parts));
}

/// As Llama 2: characters, of which spaces are "▁", with bytes for the others. Without bytes, "▁" begins so
/// many of the tokens that text is cut before it.
Tokenizer characters(bool has_bytes = true) {
    Vocabulary vocabulary = vocabulary_of({"<unk>", "▁", "a", "b", "▁a", "ab", "▁ab"});
    if (has_bytes) add_byte_tokens(vocabulary);
    TokenizerParts parts{BytePair(
        vocabulary, merges_of(vocabulary, {{"▁", "a", "▁a"}, {"a", "b", "ab"}, {"▁a", "b", "▁ab"}}),
        {.unknown = "<unk>", .fuse_unknown = true, .byte_fallback = true}, BytePairUnits::characters)};
    parts.normalizer = {normalizer::Prepend{"▁"}, normalizer::Replace{TextPattern::literal(" "), "▁"}};
    parts.decoder = Decoder{decoder::Replace{TextPattern::literal("▁"), " "}, decoder::ByteFallback{},
                            decoder::Fuse{}, decoder::Strip{" ", 1, 0}};
    return Tokenizer(std::move(parts));
}

/// The same without bytes, cut after a character, as Gemma's is after spaces, of which there are none then.
Tokenizer characters_cut_after(const std::string& character) {
    TokenizerParts parts = characters(false).parts();
    parts.pre_tokenizer = {
        pre_tokenizer::Split{TextPattern::literal(character), SplitBehavior::merged_with_previous}};
    return Tokenizer(std::move(parts));
}

/// The ids of a text that comes in parts of random sizes.
Ids streamed(const Tokenizer& tokenizer, std::string_view text, std::mt19937& generator,
             std::size_t largest_part) {
    StreamEncoder stream(tokenizer);
    Ids ids;
    const auto append = [&](TokenId id) { ids.push_back(id); };
    while (!text.empty()) {
        const std::string_view part = text.substr(0, 1 + below(generator, largest_part));
        stream.push(part, append);
        text.remove_prefix(part.size());
    }
    stream.finish(append);
    return ids;
}

std::string random_text_of_all(std::mt19937& generator, std::size_t count) {
    std::vector<std::string> parts = text_parts();
    parts.insert(parts.end(), {"<|end|>", "<|en", "AB", "ab", " ab", "\r\n", "0101"});
    return random_text(generator, parts, count);
}

}  // namespace

TEST_CASE("the ids of text in parts are those of the whole, wherever it is cut") {
    std::mt19937 generator(1);
    for (const Tokenizer& tokenizer :
         {byte_level(), words(), characters(), characters(false), characters_cut_after(" "),
          characters_cut_after("b"), characters_cut_after("▁")}) {
        for (const std::size_t largest_part : {1, 7, 5000, 100'000}) {
            const std::string text = random_text_of_all(generator, largest_part < 5000 ? 20'000 : 100'000);
            CHECK(streamed(tokenizer, text, generator, largest_part) == tokenizer.encode_ids(text));
        }
        CHECK(streamed(tokenizer, "", generator, 1) == tokenizer.encode_ids(""));
    }
}

TEST_CASE("ids come while text does: what waits is bounded") {
    for (const Tokenizer& tokenizer : {byte_level(), words(), characters(false), characters_cut_after(" ")}) {
        StreamEncoder stream(tokenizer);
        std::size_t count = 0;
        for (int i = 0; i < 50'000; ++i) stream.push("ab ab. abab ab z ", [&](TokenId) { ++count; });
        const std::size_t at_once = count;
        stream.finish([&](TokenId) { ++count; });
        CHECK(count > 250'000);
        CHECK(count - at_once < 65'536);
    }
}

TEST_CASE("a long line is encoded, whole or in parts, with spaces or without") {
    std::string mixed;
    while (mixed.size() < 300'000) mixed += "ab abab 01,\u4E2D😀 ab  01\u00E9abba";
    std::string unbroken;
    while (unbroken.size() < 120'000) unbroken += "abba";
    std::mt19937 generator(3);
    for (const Tokenizer& tokenizer : {byte_level(), words(), characters()}) {
        for (const std::string* text : {&mixed, &unbroken}) {
            const Encoding encoding = tokenizer.encode(*text);
            CHECK(tokenizer.encode_ids(*text) == encoding.ids);
            CHECK(streamed(tokenizer, *text, generator, 65'536) == encoding.ids);
            CHECK(encoding.offsets.size() == encoding.ids.size());
        }
        if (tokenizer.decodes_bytes()) CHECK(tokenizer.decode(tokenizer.encode_ids(mixed)) == mixed);
    }
}

TEST_CASE("a stream takes one text after another") {
    const Tokenizer tokenizer = words();
    StreamEncoder stream(tokenizer);
    for (const std::string_view text : {"a b", "", "Ab z"}) {
        Ids ids;
        const auto append = [&](TokenId id) { ids.push_back(id); };
        stream.push(text, append);
        stream.finish(append);
        CHECK(ids == tokenizer.encode_ids(text));
    }
}

TEST_CASE("what is refused is so in parts, too") {
    const Tokenizer tokenizer = byte_level();
    const auto ignore = [](TokenId) {};
    StreamEncoder stream(tokenizer, {.special_tokens = SpecialTokens::refused});
    stream.push("a <|e", ignore);
    CHECK_THROWS_AS((stream.push("nd|>", ignore), stream.finish(ignore)), Error);
    StreamEncoder strict(tokenizer, {.refuse_invalid_utf8 = true});
    strict.push("\xE4\xB8", ignore);
    strict.push("\xAD", ignore);
    CHECK_NOTHROW(strict.finish(ignore));
    strict.push("\xE4\xB8", ignore);
    CHECK_THROWS_AS(strict.finish(ignore), Error);
}

TEST_CASE("what is decoded in parts is the whole, and never splits a character") {
    std::mt19937 generator(2);
    for (const Tokenizer& tokenizer : {byte_level(), words(), characters()}) {
        for (int i = 0; i < 50; ++i) {
            std::string text;
            for (const char* part : {"ab", " ", "é", "中", "😀", "e\u0301", ".", "AB", "ab "})
                if (below(generator, 2)) text += part;
            const Ids ids = tokenizer.encode_ids(text);
            StreamDecoder decoder(tokenizer);
            std::string shown;
            bool are_whole = true;
            for (const TokenId id : ids) {
                const std::string more = decoder.push(id);
                are_whole &= detail::is_valid_utf8(more);
                shown += more;
            }
            shown += decoder.flush();
            CHECK(are_whole);
            CHECK(shown == tokenizer.decode(ids));
        }
    }
}

TEST_CASE("a character is shown once its last byte has come") {
    const Tokenizer tokenizer = byte_level();
    StreamDecoder decoder(tokenizer);
    CHECK(decoder.push('a') == "a");
    CHECK(decoder.push(0xE4) == "");
    CHECK(decoder.push(0xB8) == "");
    CHECK(decoder.push(0xAD) == "中");
    CHECK(decoder.push(0xE4) == "");
    CHECK(decoder.push('b') ==
          "\uFFFD"
          "b");
    CHECK(decoder.push(0xE4) == "");
    CHECK(decoder.flush() == "\uFFFD");
    CHECK(decoder.push(0xAD) == "\uFFFD");  // another text
    CHECK_THROWS_AS(decoder.push(299), Error);
}
