#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/json.hpp"
#include "tenon/tokenizer/base64.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/pre_tokenizers.hpp"

namespace tenon {

/// What a file of ranks doesn't say: how text is cut before it is encoded, and the special tokens.
struct TiktokenEncoding {
    std::string pattern;
    std::vector<std::pair<std::string, TokenId>> special_tokens = {};
};

namespace detail {

/// The merges of tokens that are merged by rank, as tiktoken does: any two neighbours that together are a
/// token become it, that of the lowest rank first. Of the pairs that a token can be cut into, one at most
/// ever becomes it, which its bytes alone come to: nothing before its last merge crosses its ends, wherever
/// it stands. `tokens` are their bytes by rank; ids are ranks from `first` up.
inline MergeTable merges_of_ranks(const StringTable& tokens, TokenId first) {
    std::array<TokenId, 256> units;
    for (std::size_t byte = 0; byte < units.size(); ++byte) {
        const char character = static_cast<char>(byte);
        const std::uint32_t rank = tokens.find({&character, 1});
        units[byte] = rank == absent ? absent : first + rank;
    }
    std::vector<std::uint32_t> shortest_first(tokens.size());
    std::iota(shortest_first.begin(), shortest_first.end(), 0u);
    std::stable_sort(shortest_first.begin(), shortest_first.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return tokens[a].size() < tokens[b].size(); });
    MergeTable merges;
    merges.reserve(tokens.size());
    std::vector<TokenId> parts;
    for (const std::uint32_t rank : shortest_first) {
        parts.clear();
        for (const char byte : tokens[rank]) parts.push_back(units[static_cast<unsigned char>(byte)]);
        merges.apply(parts);
        if (parts.size() == 2) merges.add(parts[0], parts[1], {rank, first + rank});
    }
    return merges;
}

/// The tokenizer of tokens by rank; the first has the id `first`, special ones have none of their ids.
inline TokenizerParts make_rank_tokenizer(const StringTable& tokens, const TiktokenEncoding& encoding,
                                          TokenId first = 0) {
    Vocabulary vocabulary;
    vocabulary.reserve(tokens.size(), 8 * std::size_t{tokens.size()});
    std::string written;
    for (std::uint32_t rank = 0; rank < tokens.size(); ++rank) {
        written.clear();
        for (const char byte : tokens[rank]) append_written_byte(written, byte);
        vocabulary.add(written, first + rank);
    }
    TokenizerParts parts{BytePair(std::move(vocabulary), merges_of_ranks(tokens, first),
                                  {.ignore_merges = true}, BytePairUnits::bytes)};
    parts.pre_tokenizer = {pre_tokenizer::Split{TextPattern::regex(encoding.pattern, RegexDialect::rust)},
                           pre_tokenizer::ByteLevel{false, true, false}};
    parts.decoder = Decoder{decoder::Bytes{}};
    for (const auto& [text, id] : encoding.special_tokens) {
        if (text.empty()) throw Error("expected special tokens with at least one byte, got an empty one");
        if (id >= first && id - first < tokens.size()) {
            throw Error("expected ids of special tokens from " + std::to_string(tokens.size()) + " up, got " +
                        std::to_string(id) + " for \"" + text + "\"");
        }
        parts.added_tokens.push_back({.content = text, .id = id, .special = true});
    }
    return parts;
}

/// Reads lines of a token's bytes in base 64, a space, and its rank: the numbers from 0 up, in any order.
class TiktokenReader {
public:
    TiktokenReader(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {}

    /// The tokens by rank. Throws FileError.
    StringTable read() {
        for (std::size_t begin = 0; begin < text_.size();) {
            const std::size_t end = std::min(text_.find('\n', begin), text_.size());
            std::string_view line = text_.substr(begin, end - begin);
            begin = end + 1;
            ++line_;
            if (line.ends_with('\r')) line.remove_suffix(1);
            if (!line.empty()) read_line(line);
        }
        std::vector<const std::string*> by_rank(tokens_.size());
        for (const auto& [rank, bytes, line] : tokens_) {
            line_ = line;
            if (rank >= by_rank.size()) {
                fail("expected the ranks 0 to " + std::to_string(by_rank.size() - 1) + ", each once, got " +
                     std::to_string(rank));
            }
            if (by_rank[rank]) fail("expected each rank once, got " + std::to_string(rank) + " again");
            by_rank[rank] = &bytes;
        }
        StringTable table;
        for (const std::string* bytes : by_rank) {
            if (table.find(*bytes) != absent) {
                throw FileError(where_ + ": expected each token once, got \"" + written_bytes(*bytes) +
                                "\" with ranks " + std::to_string(table.find(*bytes)) + " and " +
                                std::to_string(table.size()));
            }
            table.add(*bytes);
        }
        return table;
    }

private:
    struct Token {
        std::uint32_t rank;
        std::string bytes;
        std::size_t line;
    };

    void read_line(std::string_view line) {
        const std::size_t space = std::min(line.find(' '), line.size());
        // Whisper's files have a token of no bytes, which nothing becomes.
        auto bytes = line.substr(0, space) == "=" ? std::optional<std::string>("")
                                                  : read_base64(line.substr(0, space));
        std::uint32_t rank = 0;
        const char* const end = line.data() + line.size();
        const char* const digits = line.data() + std::min(space + 1, line.size());
        const auto [read_end, error] = std::from_chars(digits, end, rank);
        if (!bytes || space == 0 || error != std::errc() || read_end != end) {
            fail("expected a token in base 64, a space and its rank, got \"" +
                 std::string(line.substr(0, 60)) + "\"");
        }
        tokens_.push_back({rank, std::move(*bytes), line_});
    }

    [[noreturn]] void fail(const std::string& problem) const {
        throw FileError(where_ + ":" + std::to_string(line_) + ": " + problem);
    }

    std::string_view text_;
    std::string where_;
    std::size_t line_ = 0;
    std::vector<Token> tokens_;
};

}  // namespace detail

/// What a tiktoken file says: ranks, which are ids, and how text is cut. Throws FileError with the line of
/// what is wrong.
inline TokenizerParts parse_tiktoken(std::string_view text, const std::string& where,
                                     const TiktokenEncoding& encoding) {
    const detail::StringTable tokens = detail::TiktokenReader(text, where).read();
    return detail::with_place(where, [&] { return detail::make_rank_tokenizer(tokens, encoding); });
}

/// Reads an encoding.json, of a "pattern" and of "special_tokens" with their ids. Throws FileError.
inline TiktokenEncoding read_tiktoken_encoding(const std::string& path) {
    const JsonDocument document = parse_json(read_file(path), path);
    TiktokenEncoding encoding{std::string(document.root().at("pattern").text())};
    if (const auto tokens = document.root().find("special_tokens")) {
        for (const Json token : tokens->members()) {
            const std::int64_t id = token.integer();
            if (id < 0 || id >= std::int64_t{Vocabulary::maximum_size}) token.fail("a token's id");
            encoding.special_tokens.emplace_back(token.key(), static_cast<TokenId>(id));
        }
    }
    return encoding;
}

}  // namespace tenon
