#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/file.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon::detail {

/// Reads the JSON of vocab.json: one object whose keys are distinct and whose values are 0 .. n - 1, each
/// once.
class VocabularyReader {
public:
    /// Reads the file. Throws FileError naming file, line and byte offset.
    explicit VocabularyReader(std::string path) : path_(std::move(path)), text_(read_file(path_)) {}

    /// The keys in the order of their values. Throws FileError.
    std::vector<std::string> read() {
        skip_whitespace();
        expect('{', "'{'");
        skip_whitespace();
        if (peek() == '}') {
            ++at_;
        } else {
            do {
                read_member();
            } while (has_comma());
        }
        skip_whitespace();
        if (at_ < text_.size()) fail("the end of the file");
        return in_order();
    }

private:
    struct Member {
        std::uint64_t value;
        std::size_t key_offset;
    };

    [[noreturn]] void fail(std::string_view expected) const {
        fail_at(at_, std::string("expected ") + std::string(expected) + ", found " + found());
    }

    [[noreturn]] void fail_at(std::size_t offset, const std::string& problem) const {
        std::size_t line = 1;
        for (const char byte : std::string_view(text_).substr(0, offset)) line += byte == '\n';
        throw FileError(path_ + ":" + std::to_string(line) + ": " + problem + " at offset " +
                        std::to_string(offset));
    }

    std::string found() const {
        if (at_ >= text_.size()) return "the end of the file";
        const auto byte = static_cast<unsigned char>(text_[at_]);
        if (byte > 0x20 && byte < 0x7F) return std::string("'") + text_[at_] + "'";
        return "byte " + std::to_string(byte);
    }

    /// The next byte, or NUL at the end, which JSON has nowhere.
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void skip_whitespace() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
    }

    void expect(char wanted, std::string_view expected) {
        if (peek() != wanted) fail(expected);
        ++at_;
    }

    bool has_comma() {
        skip_whitespace();
        if (peek() != ',' && peek() != '}') fail("',' or '}'");
        return text_[at_++] == ',';
    }

    void read_member() {
        skip_whitespace();
        const std::size_t key_offset = at_;
        const std::string key = read_string();
        if (key.empty()) fail_at(key_offset, "expected a token, found an empty string");
        if (keys_.find(key) != absent)
            fail_at(key_offset, "expected each token once, found \"" + key + "\" again");
        keys_.add(key);
        skip_whitespace();
        expect(':', "':'");
        skip_whitespace();
        members_.push_back({read_number(), key_offset});
    }

    std::uint64_t read_number() {
        const std::size_t begin = at_;
        std::uint64_t number = 0;
        while (peek() >= '0' && peek() <= '9') {
            // Nineteen digits fit; more than the file has tokens is refused below.
            if (at_ - begin == 19) fail("a token's number of at most 19 digits");
            number = 10 * number + static_cast<std::uint64_t>(text_[at_++] - '0');
        }
        const bool has_leading_zero = at_ - begin > 1 && text_[begin] == '0';
        if (at_ == begin || has_leading_zero || peek() == '.' || peek() == 'e' || peek() == 'E') {
            fail("a token's number: a whole number from 0 up");
        }
        return number;
    }

    std::string read_string() {
        expect('"', "a string");
        std::string value;
        for (;;) {
            if (at_ >= text_.size()) fail("'\"'");
            const Utf8Character character = decode_utf8_character(std::string_view(text_).substr(at_));
            if (character.code_point == Utf8Character::invalid) fail("UTF-8");
            if (character.code_point < 0x20) fail("control characters to be escaped");
            if (character.code_point == '\\') {
                ++at_;
                append_utf8(value, read_escape());
                continue;
            }
            const std::string_view bytes = std::string_view(text_).substr(at_, character.size);
            at_ += character.size;
            if (bytes == "\"") return value;
            value += bytes;
        }
    }

    /// Reads what follows a backslash.
    char32_t read_escape() {
        constexpr std::string_view letters = "\"\\/bfnrt";
        constexpr std::string_view characters = "\"\\/\b\f\n\r\t";
        const std::size_t index = at_ < text_.size() ? letters.find(text_[at_]) : std::string_view::npos;
        if (index != std::string_view::npos) {
            ++at_;
            return static_cast<unsigned char>(characters[index]);
        }
        expect('u', "one of \"\\/bfnrtu after a backslash");
        const char32_t high = read_four_digits();
        if (high < 0xD800 || high > 0xDFFF) return high;
        if (high > 0xDBFF || text_.compare(at_, 2, "\\u") != 0) fail("a surrogate pair");
        at_ += 2;
        const char32_t low = read_four_digits();
        if (low < 0xDC00 || low > 0xDFFF) fail("a low surrogate before here");
        return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    }

    char32_t read_four_digits() {
        char32_t value = 0;
        for (int i = 0; i < 4; ++i) {
            const char digit = peek();
            const int number = digit >= '0' && digit <= '9'   ? digit - '0'
                               : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                               : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                              : -1;
            if (number < 0) fail("four hexadecimal digits");
            value = value << 4 | static_cast<char32_t>(number);
            ++at_;
        }
        return value;
    }

    std::vector<std::string> in_order() const {
        std::vector<std::string> ordered(members_.size());
        for (std::uint32_t i = 0; i < keys_.size(); ++i) {
            const auto [value, key_offset] = members_[i];
            const std::string key(keys_[i]);
            if (value >= ordered.size()) {
                fail_at(key_offset, "expected the numbers 0 to " + std::to_string(ordered.size() - 1) +
                                        ", each once, found " + std::to_string(value) + " for \"" + key +
                                        "\"");
            }
            if (!ordered[value].empty()) {
                fail_at(key_offset, "expected each number once, found " + std::to_string(value) + " for \"" +
                                        key + "\" and for \"" + ordered[value] + "\"");
            }
            ordered[value] = key;
        }
        return ordered;
    }

    std::string path_;
    std::string text_;
    std::size_t at_ = 0;
    StringTable keys_;
    std::vector<Member> members_;
};

/// One merge as merges.txt has it: two byte strings.
struct WrittenMerge {
    std::string left;
    std::string right;
    std::size_t line = 0;
};

/// Reads merges.txt: a line `#version: ...`, which may be missing, then two tokens and a space between them a
/// line. Throws FileError naming file and line.
inline std::vector<WrittenMerge> read_merges(const std::string& path) {
    const std::string text = read_file(path);
    std::vector<WrittenMerge> merges;
    std::size_t line_number = 0;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        const std::string_view line = std::string_view(text).substr(begin, end - begin);
        begin = end + 1;
        ++line_number;
        if (line_number == 1 && line.starts_with("#version")) continue;
        if (line.empty() && begin >= text.size()) break;
        const std::size_t space = std::min(line.find(' '), line.size());
        const auto left = read_bytes(line.substr(0, space));
        const auto right = read_bytes(line.substr(std::min(space + 1, line.size())));
        if (!left || !right || left->empty() || right->empty()) {
            throw FileError(path + ":" + std::to_string(line_number) +
                            ": expected two tokens with one space between them, found \"" +
                            std::string(line) + "\"");
        }
        merges.push_back({*left, *right, line_number});
    }
    return merges;
}

/// Puts together a byte-level tokenizer of GPT-2's kind; `fail(problem)` throws, also what is wrong with a
/// merge, after `fail_at(merge, problem)`.
class Gpt2Builder {
public:
    /// Adds the next token, as the file writes it.
    template <class Fail>
    void add_token(std::string_view written, Fail&& fail) {
        if (written.empty()) fail("expected tokens with at least one byte, got an empty one");
        if (vocabulary_.find(written) != absent)
            fail("expected each token once, got \"" + std::string(written) + "\" twice");
        vocabulary_.add(written, vocabulary_.size());
    }

    /// Adds the next merge, of tokens' bytes.
    template <class Fail>
    void add_merge(std::string_view left, std::string_view right, Fail&& fail) {
        const auto id_of = [&](const std::string& bytes) {
            const std::string written = written_bytes(bytes);
            const TokenId id = vocabulary_.find(written);
            if (id == absent) fail("expected a token of the vocabulary, got \"" + written + "\"");
            return id;
        };
        const TokenId left_id = id_of(std::string(left)), right_id = id_of(std::string(right));
        const TokenId result = id_of(std::string(left) + std::string(right));
        if (!merges_.add(left_id, right_id, {static_cast<std::uint32_t>(merges_.size()), result})) {
            fail("expected each merge once, got \"" + written_bytes(left) + " " + written_bytes(right) +
                 "\" again");
        }
    }

    /// `special` are special tokens that the vocabulary holds, with their ids; `more` get ids if it lacks
    /// their bytes.
    TokenizerParts finish(std::vector<AddedToken> special, std::span<const std::string> more) {
        TokenId next = vocabulary_.size();
        std::vector<std::string> contents;
        for (const AddedToken& token : special) contents.push_back(token.content);
        for (const std::string& content : more) {
            TokenId id = vocabulary_.find(written_bytes(content));
            if (id == absent) id = next++;
            special.push_back({.content = content, .id = id, .special = true});
            contents.push_back(content);
        }
        SpecialTokenFinder require_usable(contents);
        TokenizerParts parts{BytePair(std::move(vocabulary_), std::move(merges_), {}, BytePairUnits::bytes)};
        parts.added_tokens = std::move(special);
        parts.pre_tokenizer = {pre_tokenizer::ByteLevel{false, true, true}};
        parts.decoder = Decoder{decoder::Bytes{}};
        return parts;
    }

    const Vocabulary& vocabulary() const { return vocabulary_; }

private:
    Vocabulary vocabulary_;
    MergeTable merges_;
};

}  // namespace tenon::detail

namespace tenon {

/// A tokenizer of GPT-2's kind, whose tokens are byte strings (Sennrich et al. 2016; Radford et al. 2019).
/// Takes the tokens' bytes by id, the merges from first to last, and the special tokens. Of those, one that
/// the vocabulary holds keeps its id, and the others are appended. Throws Error if the vocabulary lacks a
/// byte or a part or result of a merge, or if a token, a merge or a special token comes twice or is empty.
inline TokenizerParts byte_pair_parts(std::span<const std::string> vocabulary,
                                      std::span<const std::pair<std::string, std::string>> merges,
                                      std::span<const std::string> special_tokens = {}) {
    detail::Gpt2Builder builder;
    const auto fail = [](const std::string& problem) { throw Error(problem); };
    for (const std::string& token : vocabulary) builder.add_token(detail::written_bytes(token), fail);
    for (std::size_t i = 0; i < merges.size(); ++i) {
        builder.add_merge(merges[i].first, merges[i].second, [&](const std::string& problem) {
            fail("merge " + std::to_string(i) + ": " + problem);
        });
    }
    return builder.finish({}, special_tokens);
}

/// Reads `vocab.json` and `merges.txt` of a folder, GPT-2's form. Tokens that are no byte and that no merge
/// makes are special; `special_tokens` adds more. Throws FileError naming file and line.
inline TokenizerParts read_gpt2_files(const std::string& folder,
                                      std::span<const std::string> special_tokens = {}) {
    const std::string vocabulary_path = folder + "/vocab.json";
    const std::string merges_path = folder + "/merges.txt";
    const std::vector<detail::WrittenMerge> merges = detail::read_merges(merges_path);
    detail::StringTable made;
    for (const detail::WrittenMerge& merge : merges) made.add(merge.left + merge.right);

    detail::Gpt2Builder builder;
    std::vector<AddedToken> special;
    const auto fail = [&](const std::string& problem) { throw FileError(vocabulary_path + ": " + problem); };
    for (const std::string& written : detail::VocabularyReader(vocabulary_path).read()) {
        const std::optional<std::string> bytes = detail::read_bytes(written);
        if (!bytes || (bytes->size() > 1 && made.find(*bytes) == detail::absent)) {
            special.push_back({.content = detail::read_special_token(written),
                               .id = builder.vocabulary().size(),
                               .special = true});
        }
        builder.add_token(written, fail);
    }
    for (const detail::WrittenMerge& merge : merges) {
        builder.add_merge(merge.left, merge.right, [&](const std::string& problem) {
            throw FileError(merges_path + ":" + std::to_string(merge.line) + ": " + problem);
        });
    }
    std::vector<std::string> more;
    for (const std::string& token : special_tokens) {
        const auto is_read = [&](const AddedToken& read) { return read.content == token; };
        if (std::none_of(special.begin(), special.end(), is_read)) more.push_back(token);
    }
    return detail::with_place(vocabulary_path, [&] { return builder.finish(std::move(special), more); });
}

}  // namespace tenon
