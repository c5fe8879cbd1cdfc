#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/json_text.hpp"
#include "tenon/tokenizer/byte_trie.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/protobuf.hpp"
#include "tenon/tokenizer/sentence_piece_bpe.hpp"
#include "tenon/tokenizer/sentence_piece_decoder.hpp"
#include "tenon/tokenizer/sentence_piece_normalizer.hpp"
#include "tenon/tokenizer/tokens.hpp"
#include "tenon/tokenizer/unigram.hpp"

namespace tenon {

namespace detail {

/// What decides how a SentencePiece model encodes, as its file says it.
struct SentencePieceFile {
    enum class Model : std::uint8_t { unigram = 1, byte_pair = 2, word = 3, character = 4 };

    std::vector<SentencePieceToken> tokens;
    Model model = Model::unigram;
    std::string charsmap;
    std::string unknown_surface = " \u2047 ";
    bool byte_fallback = false;
    bool treat_whitespace_as_suffix = false;
    bool add_dummy_prefix = true;
    bool remove_extra_whitespaces = true;
    bool escape_whitespaces = true;
    bool has_denormalizer = false;
};

/// Reads the model's file: a ModelProto of SentencePiece.
inline SentencePieceFile read_sentence_piece(std::string_view bytes) {
    SentencePieceFile file;
    ProtobufReader reader(bytes);
    for (ProtobufField field; reader.next(field);) {
        ProtobufReader inner(field.bytes);
        ProtobufField part;
        if (field.number == 1) {
            SentencePieceToken& token = file.tokens.emplace_back();
            while (inner.next(part)) {
                if (part.number == 1) token.text = part.bytes;
                if (part.number == 2) token.score = part.real();
                if (part.number == 3) {
                    if (part.value < 1 || part.value > 6)
                        throw Error("expected a token of a type from 1 to 6, got " +
                                    std::to_string(part.value));
                    token.type = static_cast<SentencePieceType>(part.value);
                }
            }
        } else if (field.number == 2) {
            while (inner.next(part)) {
                if (part.number == 3)
                    file.model =
                        static_cast<SentencePieceFile::Model>(std::min<std::uint64_t>(part.value, 5));
                if (part.number == 24) file.treat_whitespace_as_suffix = part.flag();
                if (part.number == 35) file.byte_fallback = part.flag();
                if (part.number == 44) file.unknown_surface = part.bytes;
            }
        } else if (field.number == 3) {
            while (inner.next(part)) {
                if (part.number == 2) file.charsmap = part.bytes;
                if (part.number == 3) file.add_dummy_prefix = part.flag();
                if (part.number == 4) file.remove_extra_whitespaces = part.flag();
                if (part.number == 5) file.escape_whitespaces = part.flag();
            }
        } else if (field.number == 5) {
            while (inner.next(part)) file.has_denormalizer |= part.number == 2 && !part.bytes.empty();
        }
    }
    if (file.tokens.empty()) throw Error("expected a SentencePiece model with tokens, got none");
    return file;
}

/// The unigram model of SentencePiece's tokens.
inline Unigram make_sentence_piece_unigram(const std::vector<SentencePieceToken>& tokens,
                                           bool byte_fallback) {
    UnigramOptions options{.byte_fallback = byte_fallback, .is_sentence_piece = true};
    float lowest = std::numeric_limits<float>::max();
    std::vector<UnigramToken> pieces;
    for (const SentencePieceToken& token : tokens) {
        const bool is_normal = token.type == SentencePieceType::normal;
        if (is_normal) lowest = std::min(lowest, token.score);
        if (token.type == SentencePieceType::unknown) options.unknown = static_cast<TokenId>(pieces.size());
        const bool is_user_defined = token.type == SentencePieceType::user_defined;
        // SentencePiece 0.2.3 has its own score for user-defined tokens, the better the longer they are.
        const double score =
            is_user_defined ? static_cast<double>(token.text.size()) * 0.1 - 0.1 : token.score;
        pieces.push_back({token.text, score, is_normal || is_user_defined});
    }
    options.lowest_score = lowest;
    return Unigram(std::move(pieces), options);
}

/// Says what no model of SentencePiece may be.
inline void require_sound(const SentencePieceFile& file) {
    std::vector<std::string_view> texts;
    std::size_t unknown = 0;
    for (const SentencePieceToken& token : file.tokens) {
        if (token.text.empty()) throw Error("expected tokens with a text, got an empty one");
        if (!is_utf8(token.text)) throw Error("expected tokens in UTF-8, got other bytes");
        unknown += token.type == SentencePieceType::unknown;
        texts.push_back(token.text);
    }
    if (unknown != 1) throw Error("expected one unknown token, got " + std::to_string(unknown));
    std::sort(texts.begin(), texts.end());
    const auto twice = std::adjacent_find(texts.begin(), texts.end());
    if (twice != texts.end())
        throw Error("expected each token once, got \"" + std::string(*twice) + "\" twice");
    for (std::size_t byte = 0; file.byte_fallback && byte < 256; ++byte) {
        const std::string text = byte_token(static_cast<std::uint8_t>(byte));
        if (!std::binary_search(texts.begin(), texts.end(), std::string_view(text)))
            throw Error("expected a token for each byte, got none for " + text);
    }
    if (file.has_denormalizer)
        throw Error("expected a SentencePiece model without a denormalizer, got one with it");
}

inline TokenizerParts make_parts(SentencePieceFile file) {
    require_sound(file);
    std::vector<std::pair<std::string_view, std::uint32_t>> user_defined;
    SentencePieceDecoder decoder{.unknown_surface = file.unknown_surface,
                                 .add_dummy_prefix = file.add_dummy_prefix,
                                 .remove_extra_whitespaces = file.remove_extra_whitespaces,
                                 .byte_fallback = file.byte_fallback};
    for (const SentencePieceToken& token : file.tokens) {
        if (token.type == SentencePieceType::user_defined) user_defined.emplace_back(token.text, 0);
        if (token.type == SentencePieceType::control) decoder.control.push_back(token.text);
        if (token.type == SentencePieceType::unknown) decoder.unknown = token.text;
    }
    std::sort(decoder.control.begin(), decoder.control.end());
    Normalizer normalizer{SentencePieceNormalizer{
        CharacterMap(std::move(file.charsmap)), ByteTrie(std::move(user_defined)), file.add_dummy_prefix,
        file.remove_extra_whitespaces, file.escape_whitespaces, file.treat_whitespace_as_suffix}};
    const auto make_model = [&]() -> TokenizerModel {
        if (file.model == SentencePieceFile::Model::byte_pair)
            return SentencePieceBpe(std::move(file.tokens), file.byte_fallback);
        if (file.model == SentencePieceFile::Model::unigram)
            return make_sentence_piece_unigram(file.tokens, file.byte_fallback);
        throw Error("expected a SentencePiece model of type unigram or bpe, got one of words or characters");
    };
    TokenizerParts parts{make_model()};
    parts.normalizer = std::move(normalizer);
    parts.decoder = Decoder{std::move(decoder)};
    return parts;
}

}  // namespace detail

/// What a SentencePiece model says. `where` names its origin in messages. Throws FileError.
inline TokenizerParts parse_sentence_piece(std::string_view bytes, const std::string& where) {
    return detail::with_place(where, [&] { return detail::make_parts(detail::read_sentence_piece(bytes)); });
}

}  // namespace tenon
