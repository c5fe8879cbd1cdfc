#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/added_tokens.hpp"
#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/normalizer.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/piece_scanner.hpp"
#include "tenon/tokenizer/piece_tables.hpp"
#include "tenon/tokenizer/pre_tokenizer.hpp"
#include "tenon/tokenizer/tokens.hpp"

namespace tenon {

namespace detail {

/// Memory that encoding uses. It can be used again for other texts of the same tokenizer.
struct EncodeState {
    explicit EncodeState(std::size_t bytes) : cache(bytes) {}

    PieceCache cache;
    ModelScratch scratch;
    CutText text, segment;
    TokenList tokens;
};

/// Where the pieces of a text end among its tokens.
struct PieceEnds {
    struct End {
        std::size_t tokens;  // up to here
        bool is_added;       // the piece is an added token
    };
    std::vector<End> ends;
};

/// From text to tokens, without what stands around texts.
class Pipeline {
public:
    explicit Pipeline(TokenizerParts parts) : parts_(std::move(parts)) {
        added_ = AddedTokens(parts_.added_tokens, [this](const std::string& content) {
            AlignedText text;
            text.assign(content, 0, false);
            normalize(parts_.normalizer, text);
            return std::string(text.text());
        });
        const auto* byte_pair = std::get_if<BytePair>(&parts_.model);
        has_byte_units_ = byte_pair && byte_pair->units() == BytePairUnits::bytes;
        if (parts_.normalizer.empty() && !added_.has_normalized() && has_byte_units_)
            scanner_ = make_scanner(parts_.pre_tokenizer);
        needs_sources_ = std::any_of(parts_.pre_tokenizer.begin(), parts_.pre_tokenizer.end(), [](const auto& step) {
            const auto* metaspace = std::get_if<pre_tokenizer::Metaspace>(&step);
            return metaspace && metaspace->prepend_scheme == PrependScheme::first;
        });
        needs_sources_ &= parts_.pre_tokenizer.size() > 1;
    }

    const TokenizerParts& parts() const { return parts_; }
    const AddedTokens& added() const { return added_; }

    /// Appends the tokens of a text to state.tokens.
    void encode(std::string_view text, SpecialTokens special, EncodeState& state, PieceEnds* ends = nullptr) const {
        TokenList& tokens = state.tokens;
        std::size_t begin = 0, from = 0;
        for (;;) {
            const AddedTokens::Match match = added_.next(text, begin, from, false, special);
            if (match.span.begin > begin) encode_segment(text, {begin, match.span.begin}, special, state, ends);
            if (!match.token) return;
            tokens.push(match.token->id, match.span.begin, match.span.end);
            if (ends) ends->ends.push_back({tokens.ids.size(), true});
            begin = match.span.end;
            from = match.found_end;
        }
    }

private:
    /// The scanner that does what the steps do, if there is one: all of them cut text and leave it as it is.
    static std::shared_ptr<const PieceScanner> make_scanner(const PreTokenizer& steps) {
        std::vector<const pre_tokenizer::Split*> splits;
        bool has_gpt2 = false;
        for (const pre_tokenizer::Step& step : steps) {
            if (const auto* split = std::get_if<pre_tokenizer::Split>(&step)) {
                if (split->behavior != SplitBehavior::isolated || split->invert || has_gpt2) return nullptr;
                splits.push_back(split);
            } else if (const auto* bytes = std::get_if<pre_tokenizer::ByteLevel>(&step)) {
                if (bytes->add_prefix_space) return nullptr;
                has_gpt2 |= bytes->use_regex;
            } else {
                return nullptr;
            }
        }
        if (has_gpt2 && splits.empty()) return std::make_shared<KnownScanner<Gpt2Scanner>>();
        if (!has_gpt2 && splits.size() == 1) return scanner_of(splits[0]->pattern);
        return nullptr;
    }

    static std::shared_ptr<const PieceScanner> scanner_of(const TextPattern& pattern) {
        if (pattern.is_regex() && pattern.text() == Gpt2Scanner::pattern)
            return std::make_shared<KnownScanner<Gpt2Scanner>>();
        return std::make_shared<PatternScanner>(pattern);
    }

    /// Encodes a part of a text without added tokens as they are written.
    void encode_segment(std::string_view text, Span span, SpecialTokens special, EncodeState& state,
                        PieceEnds* ends) const {
        if (scanner_) return encode_scanned(text, span, state, ends);
        AlignedText& normalized = state.text.text;
        normalized.assign(part(text, span), span.begin, state.tokens.has_spans || needs_sources_);
        normalize(parts_.normalizer, normalized);
        if (!added_.has_normalized()) return encode_normalized(state.text, state, ends);
        TokenList& tokens = state.tokens;
        std::size_t begin = 0, from = 0;
        for (;;) {
            const AddedTokens::Match match = added_.next(normalized.text(), begin, from, true, special);
            if (match.span.begin > begin) {
                state.segment.text.assign(normalized, {begin, match.span.begin});
                encode_normalized(state.segment, state, ends);
            }
            if (!match.token) return;
            const Span source = normalized.source_of(match.span);
            tokens.push(match.token->id, source.begin, source.end);
            if (ends) ends->ends.push_back({tokens.ids.size(), true});
            begin = match.span.end;
            from = match.found_end;
        }
    }

    void encode_normalized(CutText& text, EncodeState& state, PieceEnds* ends) const {
        text.start();
        for (const pre_tokenizer::Step& step : parts_.pre_tokenizer)
            std::visit([&](const auto& step) { apply_step(step, text, !has_byte_units_); }, step);
        const std::size_t first = state.tokens.ids.size();
        std::visit(
            [&](const auto& model) {
                for (const Span piece : text.pieces) {
                    encode_piece(model, text.text.text(), piece, state);
                    if (ends) ends->ends.push_back({state.tokens.ids.size(), false});
                }
            },
            parts_.model);
        if (!state.tokens.has_spans) return;
        for (std::size_t i = first; i < state.tokens.spans.size(); ++i)
            state.tokens.spans[i] = text.text.source_of(state.tokens.spans[i]);
    }

    /// Encodes a part of a text that a scanner cuts into pieces.
    void encode_scanned(std::string_view text, Span span, EncodeState& state, PieceEnds* ends) const {
        const BytePair& model = std::get<BytePair>(parts_.model);
        const std::string_view segment = text.substr(0, span.end);
        const std::size_t first = state.tokens.ids.size();
        std::array<std::size_t, 64> piece_ends;
        for (std::size_t begin = span.begin; begin < span.end;) {
            const std::size_t count = scanner_->scan(segment.substr(span.begin), begin - span.begin, piece_ends);
            for (std::size_t i = 0; i < count; ++i) {
                const std::size_t end = span.begin + piece_ends[i];
                encode_piece(model, text, {begin, end}, state);
                if (ends) ends->ends.push_back({state.tokens.ids.size(), false});
                begin = end;
            }
        }
        if (!state.tokens.has_spans) return;
        for (std::size_t i = first; i < state.tokens.spans.size(); ++i)
            state.tokens.spans[i] = whole_characters(text, state.tokens.spans[i]);
    }

    /// The span, and the rest of the characters that it has parts of.
    static Span whole_characters(std::string_view text, Span span) {
        for (std::size_t back = 1; back <= 3 && back <= span.begin; ++back) {
            const Utf8Character character = decode_utf8_character(text.substr(span.begin - back));
            if (character.code_point == Utf8Character::invalid) continue;
            if (character.size > back) span.begin -= back;
            break;
        }
        for (std::size_t back = 1; back <= 3 && back <= span.end; ++back) {
            const Utf8Character character = decode_utf8_character(text.substr(span.end - back));
            if (character.code_point == Utf8Character::invalid) continue;
            if (character.size > back) span.end += character.size - back;
            break;
        }
        return span;
    }

    template <class Model>
    void encode_piece(const Model& model, std::string_view text, Span piece, EncodeState& state) const {
        if constexpr (requires { model.first_cut(text); }) {
            while (piece.size() > 0) {
                const std::size_t size = model.first_cut(part(text, piece));
                encode_uncut(model, text, {piece.begin, piece.begin + size}, state);
                piece.begin += size;
            }
        } else {
            encode_uncut(model, text, piece, state);
        }
    }

    template <class Model>
    void encode_uncut(const Model& model, std::string_view text, Span piece, EncodeState& state) const {
        TokenList& tokens = state.tokens;
        const std::string_view bytes = part(text, piece);
        if (tokens.has_spans || bytes.size() > PieceKey::maximum_size)
            return model.encode(bytes, piece.begin, state.scratch, tokens);
        const PieceKey key = key_of_piece(bytes, text.substr(piece.begin));
        PieceCache::Entry& entry = state.cache.entry(key);
        if (entry.key != key) {
            TokenId whole = absent;
            if constexpr (requires { model.whole_piece(key); }) whole = model.whole_piece(key);
            if (whole != absent) {
                entry = {key, 1, {whole}};
            } else {
                const std::size_t before = tokens.ids.size();
                model.encode(bytes, piece.begin, state.scratch, tokens);
                const std::size_t count = tokens.ids.size() - before;
                if (count > PieceCache::maximum_tokens) return;
                entry = {key, static_cast<std::uint32_t>(count), {}};
                std::copy_n(tokens.ids.begin() + static_cast<std::ptrdiff_t>(before), count, entry.tokens);
                return;
            }
        }
        tokens.ids.insert(tokens.ids.end(), entry.tokens, entry.tokens + entry.count);
    }

    TokenizerParts parts_;
    AddedTokens added_;
    std::shared_ptr<const PieceScanner> scanner_;  // none if text must be changed or cut otherwise
    bool has_byte_units_ = false;
    bool needs_sources_ = false;
};

}  // namespace detail

}  // namespace tenon
