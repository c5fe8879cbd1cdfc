#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/added_tokens.hpp"
#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/model.hpp"
#include "tenon/tokenizer/normalizer.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/piece_scanner.hpp"
#include "tenon/tokenizer/pre_tokenizer.hpp"

namespace tenon {

namespace detail {

/// Memory that encoding uses. It can be used again for other texts of the same tokenizer.
struct EncodeState : ModelState {
    using ModelState::ModelState;

    CutText text, segment;
};

/// The states of a tokenizer, which threads use one at a time each: what one text taught serves the next.
class EncodeStates {
public:
    /// Calls use(state) with a state that nobody else uses and whose tokens are none.
    template <class Use>
    void lend(Use&& use) {
        std::unique_ptr<EncodeState> state = take();
        use(*state);
        state->tokens.clear();
        const std::lock_guard lock(mutex_);
        idle_.push_back(std::move(state));  // one that an error left is lost
    }

private:
    static constexpr std::size_t cache_bytes = std::size_t{24} << 20;

    std::unique_ptr<EncodeState> take() {
        const std::lock_guard lock(mutex_);
        if (idle_.empty()) return std::make_unique<EncodeState>(cache_bytes);
        std::unique_ptr<EncodeState> state = std::move(idle_.back());
        idle_.pop_back();
        return state;
    }

    std::mutex mutex_;
    std::vector<std::unique_ptr<EncodeState>> idle_;
};

/// From text to tokens, without what stands around texts.
class Pipeline {
public:
    explicit Pipeline(TokenizerParts parts)
        : parts_(std::move(parts)), has_byte_units_(parts_.model.has_byte_units()) {
        added_ = AddedTokens(parts_.added_tokens, [this](const std::string& content) {
            AlignedText text;
            text.assign(content, 0, false);
            normalize(parts_.normalizer, text);
            return std::string(text.text());
        });
        if (parts_.normalizer.empty() && !added_.has_normalized() && has_byte_units_)
            scanner_ = find_scanner();
        find_stream();
        needs_sources_ = parts_.pre_tokenizer.size() > 1 &&
                         std::any_of(parts_.pre_tokenizer.begin(), parts_.pre_tokenizer.end(),
                                     [](const PreTokenizerStep& step) { return step.needs_sources(); });
    }

    const TokenizerParts& parts() const { return parts_; }
    const AddedTokens& added() const { return added_; }

    /// Appends the tokens of a text to state.tokens. `added_ends`, if wanted, receives the number of tokens
    /// after each added token. With `is_start` false, the text goes on after a cut.
    void encode(std::string_view text, SpecialTokens special, EncodeState& state,
                std::vector<std::size_t>* added_ends = nullptr, bool is_start = true) const {
        std::size_t begin = 0, from = 0;
        for (;;) {
            const AddedTokens::Match match = added_.next(text, begin, from, false, special);
            if (match.span.begin > begin)
                encode_segment(text, {begin, match.span.begin}, special, state, added_ends, is_start);
            if (!match.token) return;
            push_added(*match.token, match.span, state, added_ends);
            begin = match.span.end;
            from = match.found_end;
            is_start = true;
        }
    }

    /// How text can be encoded that comes in parts.
    enum class Stream : std::uint8_t {
        by_pieces,  ///< as soon as the end of a piece is known: see encode_known
        by_cuts,    ///< in parts between cuts: see last_cut
        whole,      ///< only when all of it has come
    };

    Stream stream() const { return stream_; }

    /// Encodes the pieces of a text, of which more may follow, that nothing which follows can change. Returns
    /// the number of their bytes. For streams by pieces.
    std::size_t encode_known(std::string_view text, SpecialTokens special, EncodeState& state) const {
        return for_each_known(
            text, special, [&](std::span<const Span> pieces) { parts_.model.encode(text, pieces, state); },
            [&](const AddedTokens::Match& match) { push_added(*match.token, match.span, state, nullptr); });
    }

    /// The last place where a text, of which more may follow, can be cut so that its parts have the tokens of
    /// the whole; 0 where there is none.
    std::size_t last_cut(std::string_view text) const {
        if (cuts_at_spaces_) {
            const std::size_t longest = std::max<std::size_t>(added_.longest(), 1);
            for (std::size_t at = text.size() - std::min(text.size(), longest - 1); at-- > 1;) {
                if (text[at] == ' ' && may_cut_at_space(text, at) && !added_.is_crossed(text, at)) return at;
            }
        }
        if (stream_ != Stream::by_pieces) return 0;
        // Where a run of whitespace ends hangs on what follows it.
        std::size_t last = 0;
        for_each_known(
            text, SpecialTokens::recognized,
            [&](std::span<const Span> pieces) {
                for (const Span piece : pieces) {
                    if (!is_white_space(last_character(part(text, piece)))) last = piece.end;
                }
            },
            [&](const AddedTokens::Match& match) { last = match.span.end; });
        return last;
    }

private:
    static constexpr std::size_t pieces_at_once = 256;

    /// The scanner that does what the steps do, if there is one: they cut text, and none changes it but as a
    /// model of bytes does.
    std::shared_ptr<const PieceScanner> find_scanner() const {
        std::vector<std::shared_ptr<const PieceScanner>> scanners;
        std::vector<std::string> patterns;
        for (const PreTokenizerStep& step : parts_.pre_tokenizer) {
            if (step.only_writes_bytes()) continue;
            if (!step.scanner()) return nullptr;
            scanners.push_back(step.scanner());
            const auto more = step.scanner()->patterns();
            patterns.insert(patterns.end(), more.begin(), more.end());
        }
        if (scanners.size() == 1) return scanners[0];
        if (scanners.empty() || scanners.size() != patterns.size()) return nullptr;
        return scanners.back()->joined(std::move(patterns));
    }

    void find_stream() {
        const auto& normalizer = parts_.normalizer;
        const auto& pre_tokenizer = parts_.pre_tokenizer;
        const bool changes_locally = std::all_of(normalizer.begin(), normalizer.end(),
                                                 [](const auto& step) { return step.is_local(); });
        const bool are_local =
            changes_locally && std::all_of(pre_tokenizer.begin(), pre_tokenizer.end(),
                                           [](const auto& step) { return step.is_local(); });
        const bool look_for_characters =
            std::all_of(pre_tokenizer.begin(), pre_tokenizer.end(),
                        [](const auto& step) { return !step.looks_for().empty(); });
        pieces_end_at_spaces_ = std::any_of(pre_tokenizer.begin(), pre_tokenizer.end(),
                                            [](const auto& step) { return step.cuts_at_spaces(); });
        if (scanner_ && scanner_->ends_before_spaces()) pieces_end_at_spaces_ = true;
        cuts_at_spaces_ =
            (pieces_end_at_spaces_ ? are_local || scanner_ : changes_locally && look_for_characters) &&
            added_.allows_cuts();
        if (scanner_ && scanner_->ends_before_spaces() && added_.is_plain()) {
            stream_ = Stream::by_pieces;
        } else if (cuts_at_spaces_) {
            stream_ = Stream::by_cuts;
        }
    }

    /// Whether a text may be cut before the space at `at`, as far as pieces and models go.
    bool may_cut_at_space(std::string_view text, std::size_t at) const {
        const std::string_view before = text.substr(0, at);
        if (is_white_space(last_character(before))) return false;
        if (pieces_end_at_spaces_) return true;
        // The model cuts before what a space becomes, if anybody does.
        const auto normalized = [this](std::string_view part) {
            AlignedText text;
            text.assign(part, 1, false);
            normalize(parts_.normalizer, text, false);
            return std::string(text.text());
        };
        const std::string window =
            normalized(text.substr(at - last_character_size(before), last_character_size(before) + 1));
        for (const PreTokenizerStep& step : parts_.pre_tokenizer)
            if (window.find(step.looks_for()) != std::string::npos) return false;
        const std::string space = normalized(" ");
        return window.ends_with(space) && parts_.model.first_cut(window) == window.size() - space.size();
    }

    /// Calls on_pieces(spans) and on_added(match) for what is known of a text of which more may follow.
    /// Returns the number of bytes.
    template <class OnPieces, class OnAdded>
    std::size_t for_each_known(std::string_view text, SpecialTokens special, OnPieces&& on_pieces,
                               OnAdded&& on_added) const {
        // From here on, an added token may have begun that the text does not show whole.
        const std::size_t longest = std::max<std::size_t>(added_.longest(), 1);
        const std::size_t known = text.size() - std::min(text.size(), longest - 1);
        std::array<std::size_t, pieces_at_once> ends;
        std::array<Span, pieces_at_once> pieces;
        for (std::size_t at = 0;;) {
            const AddedTokens::Match match = added_.next(text, at, at, false, special);
            const bool is_whole = match.token && match.span.begin < known;
            const std::string_view segment =
                text.substr(at, is_whole ? match.span.begin - at : std::string_view::npos);
            const std::size_t settled =
                is_whole ? segment.size() : scanner_->settled(text.substr(at, std::max(known, at) - at));
            for (std::size_t begin = 0; begin < segment.size();) {
                const std::size_t count = scanner_->scan(segment, begin, ends);
                std::size_t used = 0;
                for (; used < count && ends[used] <= settled; ++used) {
                    pieces[used] = {at + begin, at + ends[used]};
                    begin = ends[used];
                }
                on_pieces(std::span<const Span>(pieces.data(), used));
                if (used < count) return at + begin;
            }
            if (!is_whole) return text.size();
            on_added(match);
            at = match.span.end;
        }
    }

    static void push_added(const AddedToken& token, Span span, EncodeState& state,
                           std::vector<std::size_t>* added_ends) {
        state.tokens.push(token.id, span.begin, span.end);
        if (state.ends) state.ends->push_back(state.tokens.ids.size());
        if (added_ends) added_ends->push_back(state.tokens.ids.size());
    }

    /// Encodes a part of a text without added tokens as they are written.
    void encode_segment(std::string_view text, Span span, SpecialTokens special, EncodeState& state,
                        std::vector<std::size_t>* added_ends, bool is_start) const {
        if (scanner_) return encode_scanned(text, span, state);
        AlignedText& normalized = state.text.text;
        const std::size_t offset = span.begin + (is_start ? 0 : 1);  // not 0 where nothing starts
        normalized.assign(part(text, span), offset, state.tokens.has_spans || needs_sources_);
        normalize(parts_.normalizer, normalized, is_start);
        if (!added_.has_normalized()) return encode_normalized(state.text, state);
        std::size_t begin = 0, from = 0;
        for (;;) {
            const AddedTokens::Match match = added_.next(normalized.text(), begin, from, true, special);
            if (match.span.begin > begin) {
                state.segment.text.assign(normalized, {begin, match.span.begin});
                encode_normalized(state.segment, state);
            }
            if (!match.token) return;
            push_added(*match.token, normalized.source_of(match.span), state, added_ends);
            begin = match.span.end;
            from = match.found_end;
        }
    }

    void encode_normalized(CutText& text, EncodeState& state) const {
        text.start();
        for (const PreTokenizerStep& step : parts_.pre_tokenizer) step.apply(text, !has_byte_units_);
        const std::size_t first = state.tokens.ids.size();
        parts_.model.encode(text.text.text(), text.pieces, state);
        if (!state.tokens.has_spans) return;
        for (std::size_t i = first; i < state.tokens.spans.size(); ++i)
            state.tokens.spans[i] = text.text.source_of(state.tokens.spans[i]);
    }

    /// Encodes a part of a text that a scanner cuts into pieces.
    void encode_scanned(std::string_view text, Span span, EncodeState& state) const {
        const std::string_view segment = part(text, span);
        const std::size_t first = state.tokens.ids.size();
        std::array<std::size_t, pieces_at_once> ends;
        std::array<Span, pieces_at_once> pieces;
        for (std::size_t begin = 0; begin < segment.size();) {
            const std::size_t count = scanner_->scan(segment, begin, ends);
            for (std::size_t i = 0; i < count; ++i) {
                pieces[i] = {span.begin + begin, span.begin + ends[i]};
                begin = ends[i];
            }
            parts_.model.encode(text, {pieces.data(), count}, state);
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

    TokenizerParts parts_;
    AddedTokens added_;
    std::shared_ptr<const PieceScanner> scanner_;  // none if text must be changed or cut otherwise
    bool has_byte_units_ = false;
    bool needs_sources_ = false;
    bool pieces_end_at_spaces_ = false;
    bool cuts_at_spaces_ = false;
    Stream stream_ = Stream::whole;
};

}  // namespace detail

}  // namespace tenon
