#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/pipeline.hpp"
#include "tenon/tokenizer/tokenizer.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// Encodes text that comes in parts: the ids are those of the whole text, wherever it is cut. Holds a bounded
/// buffer, or as much as has no place to be cut at: the longest piece, or a run without spaces, or all of the
/// text where the tokenizer has a step that must see all. Padding and truncation are not done. The tokenizer
/// must outlive it.
class StreamEncoder {
public:
    explicit StreamEncoder(const Tokenizer& tokenizer, EncodeOptions options = {})
        : tokenizer_(&tokenizer), options_(options), state_(std::size_t{3} << 18) {
        if (options_.add_special_tokens) tokenizer.surroundings();  // throws if there is no such
    }

    /// Takes the next part and calls sink(id) for the ids that no further text can change.
    template <class Sink>
    void push(std::string_view text, Sink&& sink) {
        begin();
        while (!text.empty()) {
            const std::string_view part = text.substr(0, part_size);
            text.remove_prefix(part.size());
            buffer_ += part;
            if (buffer_.size() >= wanted_size_) encode_known();
            flush(sink);
        }
    }

    /// Ends the text and calls sink(id) for the ids that remain. What is pushed next begins another text.
    template <class Sink>
    void finish(Sink&& sink) {
        begin();
        encode(buffer_.size());
        if (options_.add_special_tokens) append(tokenizer_->surroundings().after);
        flush(sink);
        wanted_size_ = part_size;
        has_begun_ = false;
    }

private:
    static constexpr std::size_t part_size = std::size_t{1} << 14;

    void begin() {
        if (!has_begun_ && options_.add_special_tokens) append(tokenizer_->surroundings().before);
        if (!has_begun_) is_start_ = has_begun_ = true;
    }

    void append(const std::vector<TokenId>& ids) {
        state_.tokens.ids.insert(state_.tokens.ids.end(), ids.begin(), ids.end());
    }

    void encode_known() {
        const detail::Pipeline& pipeline = tokenizer_->pipeline();
        if (pipeline.stream() == detail::Pipeline::Stream::by_pieces) {
            tokenizer_->require_utf8(buffer_, options_, false);
            buffer_.erase(0, pipeline.encode_known(buffer_, options_.special_tokens, state_));
        } else if (const std::size_t cut = pipeline.last_cut(buffer_); cut > 0) {
            encode(cut);
        }
        // Text that is looked at again has doubled at least, which keeps the total time linear.
        wanted_size_ = 2 * buffer_.size() + part_size;
    }

    /// Encodes the first bytes of the buffer, which end the text or before a cut.
    void encode(std::size_t size) {
        const std::string_view text = std::string_view(buffer_).substr(0, size);
        tokenizer_->require_utf8(text, options_, true);
        tokenizer_->pipeline().encode(text, options_.special_tokens, state_, nullptr, is_start_);
        is_start_ = size == 0 && is_start_;
        buffer_.erase(0, size);
    }

    template <class Sink>
    void flush(Sink&& sink) {
        for (const TokenId id : state_.tokens.ids) sink(id);
        state_.tokens.clear();
    }

    const Tokenizer* tokenizer_;
    EncodeOptions options_;
    detail::EncodeState state_;
    std::string buffer_;
    std::size_t wanted_size_ = part_size;
    bool has_begun_ = false;
    bool is_start_ = true;  // whether the buffer begins the text
};

/// Decodes ids one by one into text that can be shown at once: characters come whole. All that it returns, in
/// order, is `decode` of all ids; but of a run of byte tokens (<0x0A>) that is no UTF-8 it has shown the
/// characters with which the run began. The tokenizer must outlive it.
class StreamDecoder {
public:
    explicit StreamDecoder(const Tokenizer& tokenizer, DecodeOptions options = {})
        : tokenizer_(&tokenizer), options_(options) {}

    /// The characters that this id completes. Throws Error for an id that is no token's.
    std::string push(TokenId id) {
        if (tokenizer_->decodes_bytes()) {
            pending_ += tokenizer_->decode_bytes({&id, 1}, options_);
            require_utf8(false);
            std::string text;
            detail::move_utf8(pending_, text);
            return text;
        }
        ids_.push_back(id);
        const std::string text = tokenizer_->decode(ids_, options_);
        // What is no character may become one.
        if (text.size() <= shown_.size() || text.ends_with("\uFFFD")) return "";
        return show(text);
    }

    /// What remains once no id follows. What is pushed next begins another text.
    std::string flush() {
        std::string text;
        if (tokenizer_->decodes_bytes()) {
            require_utf8(true);
            detail::finish_utf8(pending_, text);
        } else {
            text = show(tokenizer_->decode(ids_, options_));
        }
        ids_.clear();
        shown_.clear();
        shown_ids_ = 0;
        return text;
    }

private:
    /// With `is_whole` false, more bytes may follow.
    void require_utf8(bool is_whole) const {
        if (!options_.refuse_invalid_utf8) return;
        for (std::string_view rest = pending_; !rest.empty();) {
            const Utf8Character character = decode_utf8_character(rest);
            if (character.is_cut_off && !is_whole) return;
            if (character.code_point == Utf8Character::invalid)
                throw Error("expected tokens of UTF-8, got others");
            rest.remove_prefix(character.size);
        }
    }

    /// Returns what a text has beyond what was shown of it; of its ids keeps those that were not shown
    /// before, for what they do to the next.
    std::string show(const std::string& text) {
        const bool goes_on = text.starts_with(shown_);
        std::string more = goes_on ? text.substr(shown_.size())
                                   : tokenizer_->decode(std::span(ids_).subspan(shown_ids_), options_);
        ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(shown_ids_));
        shown_ids_ = ids_.size();
        shown_ = tokenizer_->decode(ids_, options_);
        return more;
    }

    const Tokenizer* tokenizer_;
    DecodeOptions options_;
    std::string pending_;        // bytes of a character that is not complete
    std::vector<TokenId> ids_;   // the last ones that were shown, and those that were not
    std::size_t shown_ids_ = 0;  // of them
    std::string shown_;          // their text
};

}  // namespace tenon
