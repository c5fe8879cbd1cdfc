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
#include "tenon/io/gguf_metadata.hpp"
#include "tenon/io/json_text.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/decoders.hpp"
#include "tenon/tokenizer/metaspace.hpp"
#include "tenon/tokenizer/normalizers.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/post_processors.hpp"
#include "tenon/tokenizer/pre_tokenizers.hpp"
#include "tenon/tokenizer/published_patterns.hpp"
#include "tenon/tokenizer/sentence_piece_bpe.hpp"
#include "tenon/tokenizer/sentence_piece_normalizer.hpp"
#include "tenon/tokenizer/unigram.hpp"
#include "tenon/tokenizer/word_piece.hpp"

namespace tenon {

namespace detail {

/// Makes a tokenizer of the metadata of a GGUF file, as llama.cpp understands them.
class GgufTokenizer {
public:
    explicit GgufTokenizer(const GgufMetadata& metadata) : metadata_(metadata), tokens_(texts("tokens")) {
        const GgufValue* value = find("token_type");
        const std::vector<std::int64_t> types = value ? value->integers() : std::vector<std::int64_t>();
        if (value && types.size() < tokens_.size()) throw Error("expected a type for each token, got fewer");
        for (std::size_t id = 0; id < tokens_.size(); ++id) {
            if (!is_utf8(tokens_[id])) throw Error("expected tokens in UTF-8, got other bytes");
            const std::int64_t type = value ? types[id] : 1;
            types_.push_back(type >= 1 && type <= 6 ? static_cast<SentencePieceType>(type)
                                                    : SentencePieceType::normal);
        }
    }

    TokenizerParts make() const {
        const std::string_view model = texts("model")[0];
        if (model == "gpt2" || model == "whitespace" || model == "gemma4")
            return finish(make_byte_pair(model == "gemma4" ? model
                                         : find("pre")     ? texts("pre")[0]
                                                           : "default"));
        if (model == "llama") return finish(make_sentence_piece());
        if (model == "bert") return finish(make_word_piece());
        if (model == "t5") return finish(make_unigram());
        throw Error("tokenizer.ggml.model: expected gpt2, gemma4, whitespace, llama, bert or t5, got " +
                    std::string(model));
    }

private:
    const GgufValue* find(std::string_view name) const {
        return metadata_.find("tokenizer.ggml." + std::string(name));
    }

    std::vector<std::string_view> texts(std::string_view name) const {
        const GgufValue* value = find(name);
        if (value && value->is_text() && value->count > 0) return value->texts();
        throw Error("expected texts under the key tokenizer.ggml." + std::string(name) + ", got none");
    }

    /// The first integer or flag under a key, if there is one.
    std::optional<std::int64_t> integer(std::string_view name) const {
        const GgufValue* value = find(name);
        const std::vector<std::int64_t> integers = value ? value->integers() : std::vector<std::int64_t>();
        return integers.empty() ? std::nullopt : std::optional(integers[0]);
    }

    bool flag(std::string_view name, bool otherwise) const { return integer(name).value_or(otherwise) != 0; }

    /// The id of a special token, if it is one.
    std::optional<TokenId> id(std::string_view name, std::optional<TokenId> otherwise) const {
        const std::int64_t id = integer(name).value_or(otherwise ? std::int64_t{*otherwise} : -1);
        if (id < 0 || id >= static_cast<std::int64_t>(tokens_.size())) return std::nullopt;
        return static_cast<TokenId>(id);
    }

    std::vector<float> scores() const {
        const GgufValue* value = find("scores");
        if (!value) return std::vector<float>(tokens_.size());
        std::vector<float> scores;
        for (const double score : value->reals()) scores.push_back(static_cast<float>(score));
        for (const std::int64_t score : value->integers()) scores.push_back(static_cast<float>(score));
        if (scores.size() < tokens_.size()) throw Error("expected a score for each token, got fewer");
        return scores;
    }

    Vocabulary vocabulary() const {
        Vocabulary vocabulary;
        for (std::size_t id = 0; id < tokens_.size(); ++id) {
            // Empty texts are places that nothing takes.
            if (!tokens_[id].empty()) vocabulary.add(tokens_[id], static_cast<TokenId>(id));
        }
        return vocabulary;
    }

    /// The same where tokens may come twice: the last of one text counts.
    Vocabulary last_of_each() const {
        StringTable texts;
        std::vector<std::size_t> last;
        for (std::size_t id = 0; id < tokens_.size(); ++id) {
            const std::uint32_t place = texts.add(tokens_[id]);
            if (place == last.size()) last.push_back(id);
            last[place] = id;
        }
        std::sort(last.begin(), last.end());
        Vocabulary vocabulary;
        for (const std::size_t id : last)
            if (!tokens_[id].empty()) vocabulary.add(tokens_[id], static_cast<TokenId>(id));
        return vocabulary;
    }

    MergeTable merges_of(const Vocabulary& vocabulary) const {
        MergeTable merges;
        std::uint32_t rank = 0;
        const std::vector<std::string_view> list = texts("merges");
        merges.reserve(list.size());
        for (const std::string_view merge : list) {
            const std::size_t space = std::min(merge.find(' ', 1), merge.size());
            const std::string_view left = merge.substr(0, space),
                                   right = merge.substr(std::min(space + 1, merge.size()));
            const TokenId ids[] = {vocabulary.find(left), vocabulary.find(right),
                                   vocabulary.find(std::string(left) + std::string(right))};
            if (std::find(ids, ids + 3, absent) != ids + 3)
                throw Error("expected merges of tokens into a token, got \"" + std::string(merge) + "\"");
            merges.add(ids[0], ids[1], {rank++, ids[2]});
        }
        return merges;
    }

    TokenizerParts make_byte_pair(std::string_view name) const {
        const PublishedPattern& pattern = published_pattern(name);
        TokenizerParts parts = pattern.text == PieceText::bytes ? make_pairs_of_bytes(pattern)
                                                                : make_pairs_of_characters(pattern);
        parts.post_processor = surround(pattern.adds_begin, {}, false, {}, pattern.always_begins);
        for (std::size_t id = 0; pattern.whole_newlines && id < tokens_.size(); ++id)
            if (!tokens_[id].empty() && tokens_[id].find_first_not_of('\n') == std::string_view::npos)
                parts.added_tokens.push_back(
                    {.content = std::string(tokens_[id]), .id = static_cast<TokenId>(id)});
        return parts;
    }

    TokenizerParts make_pairs_of_characters(const PublishedPattern& pattern) const {
        constexpr std::string_view space = "\u2581";
        Vocabulary vocabulary = last_of_each();
        MergeTable merges = merges_of(vocabulary);
        TokenizerParts parts{BytePair(std::move(vocabulary), std::move(merges),
                                      {.byte_fallback = true, .ignore_merges = pattern.ignore_merges},
                                      BytePairUnits::characters)};
        if (pattern.text == PieceText::plain && flag("normalizer.lowercase", false))
            parts.normalizer.push_back(normalizer::Lowercase{});
        if (pattern.text == PieceText::escaped)
            parts.normalizer.push_back(normalizer::Replace{TextPattern::literal(" "), std::string(space)});
        for (const std::string_view expression : pattern.expressions)
            parts.pre_tokenizer.push_back(pre_tokenizer::Split{TextPattern::regex(std::string(expression))});
        if (pattern.text == PieceText::plain)
            parts.pre_tokenizer.push_back(
                pre_tokenizer::Split{TextPattern::regex(R"(\s+)"), SplitBehavior::removed});
        if (pattern.text == PieceText::words) parts.pre_tokenizer.push_back(pre_tokenizer::Metaspace{});
        parts.decoder = Decoder{decoder::Replace{TextPattern::literal(std::string(space)), " "},
                                decoder::ByteFallback{}, decoder::Fuse{}};
        if (pattern.text == PieceText::words) parts.decoder->push_back(decoder::Strip{" ", 1, 0});
        return parts;
    }

    TokenizerParts make_pairs_of_bytes(const PublishedPattern& pattern) const {
        Vocabulary vocabulary = this->vocabulary();
        MergeTable merges = merges_of(vocabulary);
        // Bytes that a vocabulary lacks are left out.
        const BytePairUnits units =
            has_all_bytes(vocabulary) ? BytePairUnits::bytes : BytePairUnits::characters;
        TokenizerParts parts{BytePair(std::move(vocabulary), std::move(merges),
                                      {.ignore_merges = pattern.ignore_merges}, units)};
        for (const std::string_view expression : pattern.expressions)
            parts.pre_tokenizer.push_back(pre_tokenizer::Split{TextPattern::regex(std::string(expression))});
        parts.pre_tokenizer.push_back(pre_tokenizer::ByteLevel{false, true, pattern.expressions.empty()});
        parts.decoder = Decoder{decoder::Bytes{}};
        return parts;
    }

    std::vector<SentencePieceToken> sentence_piece_tokens() const {
        const std::vector<float> scores = this->scores();
        std::vector<SentencePieceToken> tokens;
        for (std::size_t id = 0; id < tokens_.size(); ++id) {
            const std::string text =
                tokens_[id].empty() ? "[EMPTY_" + std::to_string(id) + "]" : std::string(tokens_[id]);
            tokens.push_back({text, scores[id], types_[id]});
        }
        return tokens;
    }

    TokenizerParts make_sentence_piece() const {
        std::vector<SentencePieceToken> tokens = sentence_piece_tokens();
        // Added tokens are found before; those that are unused can still be made.
        for (SentencePieceToken& token : tokens) {
            if (token.type == SentencePieceType::user_defined || token.type == SentencePieceType::unused)
                token.type = SentencePieceType::normal;
        }
        TokenizerParts parts{SentencePieceBpe(std::move(tokens), true, true)};
        const bool adds_space = flag("add_space_prefix", true);
        if (adds_space) parts.normalizer.push_back(normalizer::Prepend{"\u2581"});
        parts.normalizer.push_back(normalizer::Replace{TextPattern::literal(" "), "\u2581"});
        parts.decoder = Decoder{decoder::Replace{TextPattern::literal("\u2581"), " "},
                                decoder::ByteFallback{}, decoder::Fuse{}};
        if (adds_space) parts.decoder->push_back(decoder::Strip{" ", 1, 0});
        parts.post_processor = surround(true, 1, false, 2);
        return parts;
    }

    /// The vocabulary writes a mark before what begins a word, and none before what goes on within one.
    TokenizerParts make_word_piece() const {
        const auto unknown = id("unknown_token_id", 100);
        if (!unknown) throw Error("expected an unknown token, got none");
        WordPieceOptions options{std::string(tokens_[*unknown]), "", std::numeric_limits<std::size_t>::max()};
        TokenizerParts parts{WordPiece(vocabulary(), std::move(options))};
        parts.normalizer = {normalizer::BertNormalizer{true, true, flag("normalizer.strip_accents", true),
                                                       flag("normalizer.lowercase", true)}};
        parts.pre_tokenizer = {pre_tokenizer::BertPreTokenizer{}, pre_tokenizer::Metaspace{.split = false}};
        parts.decoder = Decoder{decoder::Metaspace{}};
        const auto begin = id("bos_token_id", 101), end = id("seperator_token_id", 102);
        if (!begin || !end) throw Error("expected the tokens that stand around a text, got none");
        parts.post_processor = {post_processor::BertProcessing{named(*end), named(*begin)}};
        return parts;
    }

    TokenizerParts make_unigram() const {
        const std::vector<float> scores = this->scores();
        UnigramOptions options{.unknown = id("unknown_token_id", 2)};
        std::vector<UnigramToken> tokens;
        std::vector<std::pair<std::string_view, std::uint32_t>> user_defined;
        double lowest = std::numeric_limits<float>::max();
        for (std::size_t i = 0; i < tokens_.size(); ++i) {
            const bool is_user_defined = types_[i] == SentencePieceType::user_defined;
            const bool is_normal = types_[i] == SentencePieceType::normal;
            if (is_normal) lowest = std::min<double>(lowest, scores[i]);
            if (is_user_defined) user_defined.emplace_back(tokens_[i], 0);
            tokens.push_back({std::string(tokens_[i]), is_user_defined ? 0.0 : scores[i],
                              (is_user_defined || is_normal || types_[i] == SentencePieceType::unused) &&
                                  !tokens_[i].empty()});
        }
        options.lowest_score = lowest;
        std::string charsmap;
        if (const GgufValue* bytes = find("precompiled_charsmap")) {
            for (const std::int64_t byte : bytes->integers()) charsmap += static_cast<char>(byte);
        }
        TokenizerParts parts{Unigram(std::move(tokens), options)};
        parts.normalizer = {
            SentencePieceNormalizer{CharacterMap(std::move(charsmap)), ByteTrie(std::move(user_defined)),
                                    flag("add_space_prefix", true), flag("remove_extra_whitespaces", true)}};
        parts.decoder = Decoder{decoder::Metaspace{}};
        parts.post_processor = surround(false, {}, true, 1);
        return parts;
    }

    post_processor::NamedToken named(TokenId id) const { return {std::string(tokens_[id]), id}; }

    /// The tokens around a text, by what the file says or else the given defaults.
    PostProcessor surround(bool adds_begin, std::optional<TokenId> begin_id, bool adds_end,
                           std::optional<TokenId> end_id, bool always_begins = false) const {
        const auto begin = id("bos_token_id", begin_id), end = id("eos_token_id", end_id);
        post_processor::TemplateProcessing step;
        const auto add = [&](TokenId id, std::uint32_t type_id,
                             std::vector<post_processor::TemplatePiece>& pieces) {
            const std::string name(tokens_[id]);
            pieces.push_back({std::nullopt, name, type_id});
            if (!step.find(name)) step.special_tokens.push_back({name, {named(id)}});
        };
        for (const bool is_pair : {false, true}) {
            auto& pieces = is_pair ? step.pair : step.single;
            for (std::uint32_t text = 0; text < (is_pair ? 2u : 1u); ++text) {
                if (begin && (always_begins || flag("add_bos_token", adds_begin))) add(*begin, text, pieces);
                pieces.push_back({text, "", text});
                if (end && flag("add_eos_token", adds_end)) add(*end, text, pieces);
            }
        }
        if (step.special_tokens.empty()) return {};
        return {std::move(step)};
    }

    /// Adds the tokens that are found in text before all else.
    TokenizerParts finish(TokenizerParts parts) const {
        for (std::size_t id = 0; id < tokens_.size(); ++id) {
            const bool is_special =
                types_[id] == SentencePieceType::control || types_[id] == SentencePieceType::unknown;
            if ((!is_special && types_[id] != SentencePieceType::user_defined) || tokens_[id].empty())
                continue;
            parts.added_tokens.push_back(
                {.content = std::string(tokens_[id]), .id = static_cast<TokenId>(id), .special = is_special});
        }
        return parts;
    }

    const GgufMetadata& metadata_;
    const std::vector<std::string_view> tokens_;
    std::vector<SentencePieceType> types_;
};

}  // namespace detail

/// The tokenizer inside a GGUF file, of which the bytes up to the first tensor are enough. `where` names the
/// file in messages. Throws FileError.
inline TokenizerParts parse_gguf_tokenizer(std::string_view bytes, const std::string& where) {
    return detail::with_place(where, [&] { return detail::GgufTokenizer(GgufMetadata(bytes)).make(); });
}

}  // namespace tenon
