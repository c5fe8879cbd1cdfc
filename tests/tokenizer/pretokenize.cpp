#include "tenon/tokenizer/pretokenize.hpp"

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "support.hpp"
#include "tenon/tokenizer/split.hpp"
#include "tenon/tokenizer/unicode.hpp"

using tenon::CharacterClass;

namespace {

using Pieces = std::vector<std::string>;

Pieces pieces_of(std::string_view text) {
    Pieces pieces;
    while (!text.empty()) {
        const std::size_t size = tenon::first_piece_size(text);
        pieces.emplace_back(text.substr(0, size));
        text.remove_prefix(size);
    }
    return pieces;
}

/// The regular expression, alternative by alternative, on a vector of characters.
class Reference {
public:
    explicit Reference(std::string_view text) {
        while (!text.empty()) {
            const tenon::Utf8Character character = tenon::decode_utf8_character(text);
            // An invalid byte is a character of its own.
            const bool valid = character.code_point != tenon::Utf8Character::invalid;
            bytes_.emplace_back(text.substr(0, valid ? character.size : 1));
            classes_.push_back(tenon::character_class(character.code_point));
            text.remove_prefix(bytes_.back().size());
        }
    }

    Pieces pieces() const {
        Pieces pieces;
        for (std::size_t at = 0; at < bytes_.size();) {
            const std::size_t end = match(at);
            std::string piece;
            for (; at < end; ++at) piece += bytes_[at];
            pieces.push_back(piece);
        }
        return pieces;
    }

private:
    std::size_t run(std::size_t at, CharacterClass wanted) const {
        while (at < classes_.size() && classes_[at] == wanted) ++at;
        return at;
    }

    bool has(std::size_t at, std::string_view wanted) const {
        return at < bytes_.size() && bytes_[at] == wanted;
    }

    std::size_t match(std::size_t at) const {
        if (has(at, "'")) {
            for (const char* one : {"s", "d", "m", "t"}) {
                if (has(at + 1, one)) return at + 2;
            }
            if (has(at + 1, "l") && has(at + 2, "l")) return at + 3;
            if (has(at + 1, "v") && has(at + 2, "e")) return at + 3;
            if (has(at + 1, "r") && has(at + 2, "e")) return at + 3;
        }
        const std::size_t after_space = at + has(at, " ");
        for (const auto wanted : {CharacterClass::letter, CharacterClass::number, CharacterClass::other}) {
            const std::size_t end = run(after_space, wanted);
            if (end > after_space) return end;
        }
        const std::size_t end = run(at, CharacterClass::whitespace);
        // \s+ takes all and gives characters back until none but whitespace, or nothing, follows.
        for (std::size_t shorter = end; shorter > at; --shorter) {
            if (shorter == bytes_.size() || classes_[shorter] == CharacterClass::whitespace) return shorter;
        }
        return end;
    }

    std::vector<std::string> bytes_;
    std::vector<CharacterClass> classes_;
};

}  // namespace

TEST_CASE("text is cut into words with the space before them, numbers, marks and whitespace") {
    CHECK(pieces_of("Hello, world 42!") == Pieces{"Hello", ",", " world", " 42", "!"});
    CHECK(pieces_of("a1b2") == Pieces{"a", "1", "b", "2"});
    CHECK(pieces_of("été 中文½") == Pieces{"été", " 中文", "½"});
}

TEST_CASE("contractions are pieces, in lower case and at an apostrophe only") {
    CHECK(pieces_of("I'll don't we've you're he's I'd I'm") ==
          Pieces{"I", "'ll", " don", "'t", " we", "'ve", " you", "'re", " he", "'s", " I", "'d", " I", "'m"});
    CHECK(pieces_of("IT'S") == Pieces{"IT", "'", "S"});
    CHECK(pieces_of(" 's ''s") == Pieces{" '", "s", " ''", "s"});
    CHECK(pieces_of("'lx'") == Pieces{"'", "lx", "'"});
    CHECK(pieces_of("'stop") == Pieces{"'s", "top"});
}

TEST_CASE("a run of whitespace leaves its last character to what follows") {
    CHECK(pieces_of("a  b") == Pieces{"a", " ", " b"});
    CHECK(pieces_of("a\n\nb") == Pieces{"a", "\n", "\n", "b"});
    CHECK(pieces_of("a \n") == Pieces{"a", " \n"});
    CHECK(pieces_of("\xe3\x80\x80\xe3\x80\x80x") == Pieces{"\xe3\x80\x80", "\xe3\x80\x80", "x"});
}

TEST_CASE("bytes that are not UTF-8 are marks") {
    CHECK(pieces_of("a\xff\xfe b") == Pieces{"a", "\xff\xfe", " b"});
    CHECK(pieces_of(" \x80!") == Pieces{" \x80!"});
    CHECK(pieces_of("\xe4\xb8") == Pieces{"\xe4\xb8"});
}

TEST_CASE("the scanner agrees with the regular expression on random text") {
    std::mt19937 generator(1);
    int differences = 0;
    for (int i = 0; i < 20000; ++i) {
        const std::string text =
            tokenizer_tests::random_text(generator, tokenizer_tests::text_parts(), generator() % 24);
        differences += pieces_of(text) != Reference(text).pieces();
    }
    for (int i = 0; i < 5000; ++i) {
        const std::string bytes = tokenizer_tests::random_bytes(generator, generator() % 24);
        differences += pieces_of(bytes) != Reference(bytes).pieces();
    }
    CHECK(differences == 0);
}

TEST_CASE("text that comes in parts is cut as the whole is") {
    const std::vector<std::string> special = {"<|a|>", "<|a|><|b|>", "'"};
    const tenon::detail::SpecialTokenFinder finder(special);
    std::vector<std::string> parts = tokenizer_tests::text_parts();
    parts.insert(parts.end(), {"<|a|>", "<|b|>", "<|a", "<", "'"});
    std::mt19937 generator(2);
    int differences = 0;
    for (int i = 0; i < 3000; ++i) {
        // What a part shows must be cut as the whole is, whatever follows.
        const std::string text = tokenizer_tests::random_text(generator, parts, 1 + generator() % 24);
        const auto cut = [&](std::string_view visible, bool is_whole, Pieces& pieces) {
            return tenon::detail::split_text(
                visible, finder, is_whole,
                [&](std::string_view piece, std::string_view) { pieces.emplace_back(piece); },
                [&](std::size_t index) { pieces.push_back("special " + special[index]); });
        };
        Pieces whole;
        cut(text, true, whole);
        for (std::size_t visible = 0; visible <= text.size(); ++visible) {
            Pieces pieces;
            const std::size_t size = cut(std::string_view(text).substr(0, visible), false, pieces);
            cut(std::string_view(text).substr(size), true, pieces);
            differences += pieces != whole;
        }
    }
    CHECK(differences == 0);
}
