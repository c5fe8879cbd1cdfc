#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/folder.hpp"
#include "tenon/io/json_text.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/legacy_merge.hpp"
#include "tenon/tokenizer/piece_tables.hpp"
#include "tenon/tokenizer/special_tokens.hpp"
#include "tenon/tokenizer/split.hpp"
#include "tenon/tokenizer/vocabulary_files.hpp"

namespace tenon {

/// GPT-2's tokenizer: byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019). Any bytes
/// can be encoded, and decoding gives them back. A tokenizer never changes: threads may share it.
class BytePairTokenizer {
public:
    /// The byte strings that become one.
    using Merge = std::pair<std::string, std::string>;

    class StreamEncoder;
    class StreamDecoder;

    /// Takes the tokens' bytes by id, the merges from first to last, and the special tokens. Of those, one
    /// that the vocabulary holds keeps its id, and the others are appended. Throws Error if the vocabulary
    /// lacks a byte or a part or result of a merge, or if a token, a merge or a special token comes twice or
    /// is empty.
    BytePairTokenizer(std::span<const std::string> vocabulary, std::span<const Merge> merges,
                      std::span<const std::string> special_tokens = {}) {
        const auto fail = [](const std::string& problem) { throw Error(problem); };
        for (const std::string& token : vocabulary) add_token(token, fail);
        for (std::size_t i = 0; i < merges.size(); ++i) {
            add_merge(merges[i].first, merges[i].second, [&](const std::string& problem) {
                fail("merge " + std::to_string(i) + ": " + problem);
            });
        }
        complete({special_tokens.begin(), special_tokens.end()}, fail);
    }

    /// Reads `vocab.json` and `merges.txt` of a folder, GPT-2's form. Tokens that are no byte and that no
    /// merge makes are special; `special_tokens` adds more, as in the constructor. Throws FileError naming
    /// file and line.
    static BytePairTokenizer load(const std::string& folder,
                                  std::span<const std::string> special_tokens = {}) {
        const std::string vocabulary_path = folder + "/vocab.json";
        const std::string merges_path = folder + "/merges.txt";
        const std::vector<detail::WrittenMerge> merges = detail::read_merges(merges_path);
        detail::StringTable made;
        for (const detail::WrittenMerge& merge : merges) made.add(merge.left + merge.right);

        BytePairTokenizer tokenizer;
        std::vector<std::string> special;
        const auto fail = [&](const std::string& problem) {
            throw FileError(vocabulary_path + ": " + problem);
        };
        for (const std::string& written : detail::VocabularyReader(vocabulary_path).read()) {
            std::optional<std::string> bytes = detail::read_bytes(written);
            if (!bytes || (bytes->size() > 1 && made.find(*bytes) == detail::absent)) {
                bytes = detail::read_special_token(written);
                special.push_back(*bytes);
            }
            tokenizer.add_token(*bytes, fail);
        }
        for (const detail::WrittenMerge& merge : merges) {
            tokenizer.add_merge(merge.left, merge.right, [&](const std::string& problem) {
                throw FileError(merges_path + ":" + std::to_string(merge.line) + ": " + problem);
            });
        }
        const std::size_t read_count = special.size();
        for (const std::string& token : special_tokens) {
            const auto end_of_read = special.begin() + static_cast<std::ptrdiff_t>(read_count);
            if (std::find(special.begin(), end_of_read, token) == end_of_read) special.push_back(token);
        }
        tokenizer.complete(std::move(special), fail);
        return tokenizer;
    }

    /// Writes `vocab.json` and `merges.txt` into a folder, which is created if it is missing. Each file
    /// appears whole or not at all. Special tokens with the bytes of an ordinary one are read back as
    /// ordinary. Throws FileError, and Error if a token that no merge makes is no UTF-8: it could not be read
    /// back.
    void save(const std::string& folder) const {
        std::vector<bool> is_made(vocabulary_.size());
        for (const TokenId id : byte_ids_) is_made[id] = true;
        for (std::uint32_t rank = 0; rank < merges_.size(); ++rank) is_made[merges_[rank].result] = true;
        std::string vocabulary = "{";
        for (TokenId id = 0; id < vocabulary_.size(); ++id) {
            const std::string bytes(vocabulary_[id]);
            if (!is_made[id] && !detail::is_valid_utf8(bytes)) {
                throw Error(
                    "expected tokens that no merge makes in UTF-8, as they are read back as special, got \"" +
                    detail::written_bytes(bytes) + "\"");
            }
            if (id > 0) vocabulary += ", ";
            append_json_string(vocabulary, is_made[id] ? detail::written_bytes(bytes)
                                                       : detail::written_special_token(bytes));
            vocabulary += ": " + std::to_string(id);
        }
        vocabulary += "}\n";
        std::string merges = "#version: 0.2\n";
        for (std::uint32_t rank = 0; rank < merges_.size(); ++rank) {
            merges += detail::written_bytes(vocabulary_[merges_[rank].left]) + " " +
                      detail::written_bytes(vocabulary_[merges_[rank].right]) + "\n";
        }
        create_folder(folder);
        write_file(folder + "/vocab.json", vocabulary);
        write_file(folder + "/merges.txt", merges);
    }

    /// The number of tokens, special ones included: ids are below it.
    std::size_t vocabulary_size() const { return vocabulary_.size(); }

    /// The bytes of a token, for as long as the tokenizer lives. Throws Error for an id beyond the
    /// vocabulary.
    std::string_view token_bytes(TokenId id) const {
        if (id >= vocabulary_.size()) {
            throw Error("expected a token id below " + std::to_string(vocabulary_.size()) + ", got " +
                        std::to_string(id));
        }
        return vocabulary_[id];
    }

    /// The id of the token with these bytes, special or not.
    std::optional<TokenId> token_id(std::string_view bytes) const {
        const TokenId id = vocabulary_.find(bytes);
        return id == detail::absent ? std::nullopt : std::optional(id);
    }

    /// The merges, from first to last.
    std::vector<Merge> merges() const {
        std::vector<Merge> merges;
        for (std::uint32_t rank = 0; rank < merges_.size(); ++rank) {
            merges.emplace_back(vocabulary_[merges_[rank].left], vocabulary_[merges_[rank].right]);
        }
        return merges;
    }

    const std::vector<std::string>& special_tokens() const { return special_tokens_; }

    bool is_special(TokenId id) const {
        return std::find(special_ids_.begin(), special_ids_.end(), id) != special_ids_.end();
    }

    /// The ids of a text. Special tokens in it become their ids; where several begin, the longest does.
    std::vector<TokenId> encode(std::string_view text) const { return encode_with(text, special_finder_); }

    /// The ids of a text in which special tokens are text like any other: for text from outside.
    std::vector<TokenId> encode_ordinary(std::string_view text) const { return encode_with(text, {}); }

    /// Calls sink(id) for each id of `encode(text)`, in order. Memory does not grow with the text, except by
    /// its longest piece.
    template <class Sink>
    void encode_to(std::string_view text, Sink&& sink) const {
        encode_with(text, special_finder_, sink);
    }

    /// The bytes of the ids. Throws Error for an id beyond the vocabulary.
    std::string decode(std::span<const TokenId> ids) const {
        std::string bytes;
        for (const TokenId id : ids) bytes += token_bytes(id);
        return bytes;
    }

    /// The text of the ids, with U+FFFD for each maximal part that is not UTF-8. Throws Error as `decode`
    /// does.
    std::string decode_text(std::span<const TokenId> ids) const {
        std::string bytes = decode(ids), text;
        detail::finish_utf8(bytes, text);
        return text;
    }

private:
    BytePairTokenizer() = default;

    /// Adds a token; `fail(problem)` throws.
    template <class Fail>
    void add_token(std::string_view bytes, Fail&& fail) {
        if (bytes.empty()) fail("expected tokens with at least one byte, got an empty one");
        const std::uint32_t size = vocabulary_.size();
        if (vocabulary_.add(bytes) != size) {
            fail("expected each token once, got \"" + detail::written_bytes(bytes) + "\" twice");
        }
    }

    template <class Fail>
    void add_merge(const std::string& left, const std::string& right, Fail&& fail) {
        const auto id_of = [&](const std::string& bytes) {
            const TokenId id = vocabulary_.find(bytes);
            if (id == detail::absent) {
                fail("expected a token of the vocabulary, got \"" + detail::written_bytes(bytes) + "\"");
            }
            return id;
        };
        if (!merges_.add({id_of(left), id_of(right), id_of(left + right)})) {
            fail("expected each merge once, got \"" + detail::written_bytes(left) + " " +
                 detail::written_bytes(right) + "\" again");
        }
    }

    /// Builds what follows from vocabulary and merges.
    template <class Fail>
    void complete(std::vector<std::string> special_tokens, Fail&& fail) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const char character = static_cast<char>(byte);
            byte_ids_[byte] = vocabulary_.find({&character, 1});
            if (byte_ids_[byte] == detail::absent) {
                fail("expected a token for each byte, got none for byte " + std::to_string(byte));
            }
        }
        special_finder_ = detail::SpecialTokenFinder(special_tokens);
        special_tokens_ = std::move(special_tokens);
        for (const std::string& token : special_tokens_) special_ids_.push_back(vocabulary_.add(token));

        whole_pieces_.reserve(vocabulary_.size());
        std::vector<TokenId> tokens;
        for (TokenId id = 0; id < vocabulary_.size(); ++id) {
            const std::string_view bytes = vocabulary_[id];
            if (bytes.size() > detail::PieceKey::maximum_size) continue;
            tokens_of_piece(bytes, tokens);
            // Merges need not lead to every token of a vocabulary.
            if (tokens.size() == 1 && tokens[0] == id)
                whole_pieces_.add(detail::key_of_piece(bytes, bytes), id);
        }
    }

    void tokens_of_piece(std::string_view piece, std::vector<TokenId>& tokens) const {
        tokens.clear();
        for (const char byte : piece) tokens.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
        merges_.apply(tokens);
    }

    /// Encodes one piece; `tokens` is scratch.
    template <class Sink>
    void encode_piece(std::string_view piece, std::string_view rest, detail::PieceCache& cache,
                      std::vector<TokenId>& tokens, Sink&& sink) const {
        if (piece.size() > detail::PieceKey::maximum_size) {
            tokens_of_piece(piece, tokens);
            for (const TokenId token : tokens) sink(token);
            return;
        }
        const detail::PieceKey key = detail::key_of_piece(piece, rest);
        detail::PieceCache::Entry& entry = cache.entry(key);
        if (entry.key != key) {
            const TokenId whole = whole_pieces_.find(key);
            if (whole != detail::absent) {
                entry = {key, 1, {whole}};
            } else {
                tokens_of_piece(piece, tokens);
                if (tokens.size() > detail::PieceCache::maximum_tokens) {
                    for (const TokenId token : tokens) sink(token);
                    return;
                }
                entry = {key, static_cast<std::uint32_t>(tokens.size()), {}};
                std::copy(tokens.begin(), tokens.end(), entry.tokens);
            }
        }
        for (std::uint32_t i = 0; i < entry.count; ++i) sink(entry.tokens[i]);
    }

    template <class Sink>
    void encode_with(std::string_view text, const detail::SpecialTokenFinder& special_finder,
                     Sink&& sink) const {
        detail::PieceCache cache(text.size());
        std::vector<TokenId> tokens;
        detail::split_text(
            text, special_finder, true,
            [&](std::string_view piece, std::string_view rest) {
                encode_piece(piece, rest, cache, tokens, sink);
            },
            [&](std::size_t index) { sink(special_ids_[index]); });
    }

    std::vector<TokenId> encode_with(std::string_view text,
                                     const detail::SpecialTokenFinder& special_finder) const {
        std::vector<TokenId> ids;
        ids.reserve(text.size() / 3);
        encode_with(text, special_finder, [&](TokenId id) { ids.push_back(id); });
        return ids;
    }

    detail::StringTable vocabulary_;
    detail::RankedMerges merges_;
    std::vector<std::string> special_tokens_;
    std::vector<TokenId> special_ids_;
    detail::SpecialTokenFinder special_finder_;
    std::array<TokenId, 256> byte_ids_{};
    detail::WholePieceTable whole_pieces_;
};

/// Encodes text that comes in parts: the ids are those of the whole text, wherever it is cut. Holds a bounded
/// buffer, or the longest piece if that is more. The tokenizer must outlive it.
class BytePairTokenizer::StreamEncoder {
public:
    explicit StreamEncoder(const BytePairTokenizer& tokenizer)
        : tokenizer_(&tokenizer), splitter_(tokenizer.special_finder_), cache_(std::size_t{1} << 20) {}

    /// Takes the next part and calls sink(id) for the ids that no further text can change.
    template <class Sink>
    void push(std::string_view text, Sink&& sink) {
        splitter_.push(text, piece_encoder(sink), special_encoder(sink));
    }

    /// Ends the text and calls sink(id) for the ids that remain. What is pushed next begins another text.
    template <class Sink>
    void finish(Sink&& sink) {
        splitter_.finish(piece_encoder(sink), special_encoder(sink));
    }

private:
    template <class Sink>
    auto piece_encoder(Sink& sink) {
        return [this, &sink](std::string_view piece, std::string_view rest) {
            tokenizer_->encode_piece(piece, rest, cache_, tokens_, sink);
        };
    }

    template <class Sink>
    auto special_encoder(Sink& sink) {
        return [this, &sink](std::size_t index) { sink(tokenizer_->special_ids_[index]); };
    }

    const BytePairTokenizer* tokenizer_;
    detail::TextSplitter splitter_;
    detail::PieceCache cache_;
    std::vector<TokenId> tokens_;
};

/// Decodes ids one by one into text that can be shown at once: characters come whole, and bytes that are not
/// UTF-8 come as U+FFFD. All that it returns, in order, is `decode_text` of all ids. The tokenizer must
/// outlive it.
class BytePairTokenizer::StreamDecoder {
public:
    explicit StreamDecoder(const BytePairTokenizer& tokenizer) : tokenizer_(&tokenizer) {}

    /// The characters that this id completes. Throws Error for an id beyond the vocabulary.
    std::string push(TokenId id) {
        pending_ += tokenizer_->token_bytes(id);
        std::string text;
        detail::move_utf8(pending_, text);
        return text;
    }

    /// What remains once no id follows: U+FFFD for a character that is cut off, or nothing.
    std::string flush() {
        std::string text;
        detail::finish_utf8(pending_, text);
        return text;
    }

private:
    const BytePairTokenizer* tokenizer_;
    std::string pending_;
};

/// The short names of the tokenizer's companions.
using StreamEncoder = BytePairTokenizer::StreamEncoder;
using StreamDecoder = BytePairTokenizer::StreamDecoder;

}  // namespace tenon
