#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/core/huge_pages.hpp"
#include "tenon/core/parallel.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/encoding.hpp"
#include "tenon/tokenizer/joined_parts.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/pipeline.hpp"

namespace tenon {

namespace detail {

class PartEncoder;

}  // namespace detail

/// How to encode a text.
struct EncodeOptions {
    SpecialTokens special_tokens = SpecialTokens::recognized;  ///< what those in the text are
    bool add_special_tokens = true;    ///< whether the template's tokens are put around the text
    bool truncate = true;              ///< whether the tokenizer's truncation, if it has one, is done
    bool pad = true;                   ///< whether its padding is
    bool refuse_invalid_utf8 = false;  ///< whether bytes that are no UTF-8 are an error, not characters
};

/// How to decode tokens.
struct DecodeOptions {
    bool skip_special_tokens = false;
    bool refuse_invalid_utf8 = false;  ///< whether tokens that are no UTF-8 together are an error, not U+FFFD
};

/// Makes tokens of text and text of tokens, exactly as the tokenizer does whose file it was read from. A
/// tokenizer never changes: copies share it, and so may threads.
class Tokenizer {
public:
    /// Throws Error where the parts contradict each other.
    explicit Tokenizer(TokenizerParts parts)
        : truncation_(parts.truncation),
          padding_(parts.padding),
          core_(std::make_shared<const Core>(std::move(parts))) {}

    /// Reads a tokenizer file, or a folder that has one: see read_tokenizer in read_tokenizer.hpp, the header
    /// that defines this. Throws FileError.
    static Tokenizer load(const std::string& path);

    /// What the tokenizer is made of.
    const TokenizerParts& parts() const { return core_->pipeline.parts(); }
    const TokenizerModel& model() const { return parts().model; }
    /// The added tokens, by id.
    const std::vector<AddedToken>& added_tokens() const { return core_->pipeline.added().tokens(); }

    const std::optional<TruncationOptions>& truncation() const { return truncation_; }
    const std::optional<PaddingOptions>& padding() const { return padding_; }

    /// The tokenizer with another truncation, or none.
    Tokenizer with_truncation(std::optional<TruncationOptions> truncation) const {
        Tokenizer tokenizer = *this;
        tokenizer.truncation_ = truncation;
        return tokenizer;
    }

    /// The tokenizer with another padding, or none.
    Tokenizer with_padding(std::optional<PaddingOptions> padding) const {
        Tokenizer tokenizer = *this;
        tokenizer.padding_ = std::move(padding);
        return tokenizer;
    }

    /// One more than the greatest id, added tokens included.
    std::size_t vocabulary_size() const { return core_->kinds.size(); }

    bool has_token(TokenId id) const { return id < core_->kinds.size() && core_->kinds[id] != Kind::none; }
    bool is_special(TokenId id) const {
        return id < core_->kinds.size() && core_->kinds[id] == Kind::special;
    }

    /// A token as its file writes it. Throws Error for an id that is no token's.
    std::string_view token_text(TokenId id) const {
        require_token(id);
        const AddedToken* added = added_token(id);
        return added ? std::string_view(added->content) : model()[id];
    }

    /// The bytes that a token stands for in text, as far as they do not hang on others. Throws Error for an
    /// id that is no token's.
    std::string token_bytes(TokenId id) const {
        require_token(id);
        const AddedToken* added = added_token(id);
        return std::string(added ? std::string_view(added->content) : model().token_bytes(id));
    }

    /// The id of a token that its file writes so.
    std::optional<TokenId> token_id(std::string_view text) const {
        if (const AddedToken* added = core_->pipeline.added().find(text)) return added->id;
        const TokenId id = model().find(text);
        return id == detail::absent ? std::nullopt : std::optional(id);
    }

    /// The ids of a text. Throws Error for what the options refuse, and where the model has no token for a
    /// part of the text.
    std::vector<TokenId> encode_ids(std::string_view text, const EncodeOptions& options = {}) const {
        const bool is_cut = options.truncate && truncation_;
        const bool is_padded = options.pad && padding_;
        if (is_cut || is_padded || !core_->surroundings) return encode(text, options).ids;
        require_utf8(text, options);
        return encode_parts(text, options);
    }

    /// The tokens of a text, with what models are given besides ids. Throws as `encode_ids` does.
    Encoding encode(std::string_view text, const EncodeOptions& options = {}) const {
        return encode_texts({&text, 1}, options);
    }

    /// The tokens of two texts, as the template joins them. Throws as `encode_ids` does.
    Encoding encode_pair(std::string_view first, std::string_view second,
                         const EncodeOptions& options = {}) const {
        const std::string_view texts[] = {first, second};
        return encode_texts(texts, options);
    }

    /// The tokens of many texts, on several threads, padded to one length if the tokenizer pads. Throws as
    /// `encode_ids` does.
    std::vector<Encoding> encode_batch(std::span<const std::string_view> texts,
                                       EncodeOptions options = {}) const {
        std::vector<Encoding> encodings(texts.size());
        const bool pads = std::exchange(options.pad, false) && padding_;
        encode_parallel(texts, [&](std::size_t i) { encodings[i] = encode(texts[i], options); });
        if (pads) detail::pad(encodings, *padding_);
        return encodings;
    }

    /// The ids of many texts, on several threads. Throws as `encode_ids` does.
    std::vector<std::vector<TokenId>> encode_ids_batch(std::span<const std::string_view> texts,
                                                       const EncodeOptions& options = {}) const {
        std::vector<std::vector<TokenId>> ids(texts.size());
        encode_parallel(texts, [&](std::size_t i) { ids[i] = encode_ids(texts[i], options); });
        return ids;
    }

    /// Whether tokens stand for bytes, one after the other: `decode_bytes` of some of them is a part of that
    /// of all.
    bool decodes_bytes() const { return core_->decodes_bytes; }

    /// The text of tokens. Throws Error for an id that is no token's, and for what the options refuse.
    std::string decode(std::span<const TokenId> ids, const DecodeOptions& options = {}) const {
        if (!core_->decodes_bytes) return detail::decode(parts().decoder, texts_of(ids, options));
        std::string bytes = decode_bytes(ids, options), text;
        if (options.refuse_invalid_utf8 && !detail::is_valid_utf8(bytes))
            throw Error("expected tokens of UTF-8");
        detail::finish_utf8(bytes, text);
        return text;
    }

    /// The bytes of tokens, which are no UTF-8 where those of a byte-level tokenizer cut characters. Throws
    /// Error for an id that is no token's.
    std::string decode_bytes(std::span<const TokenId> ids, const DecodeOptions& options = {}) const {
        if (!core_->decodes_bytes) return decode(ids, options);
        std::string bytes;
        for (const TokenId id : ids) {
            require_token(id);
            if (options.skip_special_tokens && is_special(id)) continue;
            if (const AddedToken* added = added_token(id)) {
                const std::string& text = core_->pipeline.added().normalized(*added);
                bytes += core_->keeps_added ? text : detail::bytes_of_written(text);
            } else if (model().has_byte_units()) {
                bytes += model().token_bytes(id);
            } else {
                bytes += detail::bytes_of_written(model()[id]);
            }
        }
        return bytes;
    }

private:
    friend class StreamEncoder;
    friend class StreamDecoder;
    friend class detail::PartEncoder;

    enum class Kind : std::uint8_t { none, model, added, special };

    /// The template's tokens around one text.
    struct Surroundings {
        std::vector<TokenId> before, after;
    };

    struct Core final : detail::TokenTextSource {
        explicit Core(TokenizerParts parts) : pipeline(std::move(parts)) {
            const TokenizerModel& model = pipeline.parts().model;
            kinds.resize(model.size(), Kind::none);
            for (TokenId id = 0; id < kinds.size(); ++id) {
                if (model.has(id)) kinds[id] = Kind::model;
            }
            for (const AddedToken& token : pipeline.added().tokens()) {
                if (token.id >= kinds.size()) kinds.resize(std::size_t{token.id} + 1, Kind::none);
                kinds[token.id] = token.special ? Kind::special : Kind::added;
            }
            const auto& decoder = pipeline.parts().decoder;
            if (decoder && decoder->size() == 1) {
                keeps_added = (*decoder)[0].get_if<decoder::Bytes>();
                decodes_bytes = keeps_added || (*decoder)[0].get_if<decoder::ByteLevel>();
            }
            find_surroundings();
        }

        /// Lets the post-processor surround one token, and sees what it put where.
        void find_surroundings() {
            detail::EncodedTexts texts{std::vector<detail::EncodedTexts::Part>(1)};
            texts.parts[0].encoding.ids = {detail::absent};
            const Encoding whole = detail::process(pipeline.parts().post_processor, std::move(texts));
            const auto at = std::find(whole.ids.begin(), whole.ids.end(), detail::absent);
            if (std::count(whole.ids.begin(), whole.ids.end(), detail::absent) != 1) return;
            surroundings = Surroundings{{whole.ids.begin(), at}, {at + 1, whole.ids.end()}};
        }

        /// Added tokens have the text that they stand for, with the whitespace that they took.
        std::string_view text_of(TokenId id, std::string_view source) const override {
            if (id >= kinds.size() || kinds[id] == Kind::none) return {};
            return kinds[id] == Kind::model ? pipeline.parts().model[id] : source;
        }

        detail::Pipeline pipeline;
        mutable detail::EncodeStates states;
        std::vector<Kind> kinds;                   // by id
        bool decodes_bytes = false;                // the decoder does nothing but join the bytes of tokens
        bool keeps_added = false;                  // of which those of added tokens are their text's
        std::optional<Surroundings> surroundings;  // none if the template drops or repeats a text
    };

    const detail::Pipeline& pipeline() const { return core_->pipeline; }
    /// The template's tokens around one text. Throws Error if it drops or repeats the text.
    const Surroundings& surroundings() const {
        if (!core_->surroundings) throw Error("expected a template that holds the text once, got another");
        return *core_->surroundings;
    }

    /// Leaves with `state` the ids of a part of a text: where the text begins and where it ends, with the
    /// template's tokens.
    void encode_part(std::string_view part, const EncodeOptions& options, bool begins_text, bool ends_text,
                     detail::EncodeState& state) const {
        std::vector<TokenId>& ids = state.tokens.ids;
        detail::reserve_in_huge_pages(ids, part.size() / 2 + 8);
        if (options.add_special_tokens && begins_text) ids = surroundings().before;
        pipeline().encode(part, options.special_tokens, state, nullptr, begins_text);
        if (options.add_special_tokens && ends_text)
            ids.insert(ids.end(), surroundings().after.begin(), surroundings().after.end());
    }

    std::vector<TokenId> encode_part(std::string_view part, const EncodeOptions& options, bool begins_text,
                                     bool ends_text) const {
        std::vector<TokenId> ids;
        core_->states.lend([&](detail::EncodeState& state) {
            encode_part(part, options, begins_text, ends_text, state);
            ids = std::move(state.tokens.ids);
        });
        return ids;
    }

    /// The ids of a text, of which several threads encode parts if it is long: each cuts off the next when it
    /// is through with one.
    std::vector<TokenId> encode_parts(const std::string_view text, const EncodeOptions& options) const {
        const bool is_cut = thread_count() > 1 && options.special_tokens == SpecialTokens::recognized;
        if (!is_cut || text.size() <= 2 * part_size) return encode_part(text, options, true, true);
        detail::JoinedParts<TokenId> ids(text.size() / 2 + 8);
        std::mutex mutex;
        std::string_view rest = text;
        std::size_t parts = 0;
        bool is_done = false;
        parallel_for_each(thread_count(), [&](std::int64_t) {
            while (true) {
                std::unique_lock lock(mutex);
                if (is_done) return;
                const std::size_t cut =
                    rest.size() > 2 * part_size ? pipeline().last_cut(rest.substr(0, part_size)) : 0;
                const bool ends_text = is_done = cut == 0;
                const std::string_view part = rest.substr(0, ends_text ? rest.size() : cut);
                rest.remove_prefix(part.size());
                const std::size_t number = parts++;
                lock.unlock();
                try {
                    core_->states.lend([&](detail::EncodeState& state) {
                        encode_part(part, options, number == 0, ends_text, state);
                        ids.add(number, state.tokens.ids);
                    });
                } catch (...) {
                    lock.lock();
                    is_done = true;
                    throw;
                }
            }
        });
        return std::move(ids).joined();
    }

    // So small that no thread waits long for another's last part.
    static constexpr std::size_t part_size = std::size_t{1} << 18;

    /// With `is_whole` false, more text may follow.
    static void require_utf8(std::string_view text, const EncodeOptions& options, bool is_whole = true) {
        if (!options.refuse_invalid_utf8) return;
        for (std::size_t at = 0; at < text.size();) {
            const Utf8Character character = decode_utf8_character(text.substr(at));
            if (character.is_cut_off && !is_whole) return;
            if (character.code_point == Utf8Character::invalid)
                throw Error("expected text in UTF-8, got other bytes at byte " + std::to_string(at));
            at += character.size;
        }
    }

    void require_token(TokenId id) const {
        if (has_token(id)) return;
        throw Error(id < vocabulary_size()
                        ? "expected the id of a token, got " + std::to_string(id) + ", which none has"
                        : "expected a token id below " + std::to_string(vocabulary_size()) + ", got " +
                              std::to_string(id));
    }

    const AddedToken* added_token(TokenId id) const {
        return core_->kinds[id] >= Kind::added ? core_->pipeline.added().find(id) : nullptr;
    }

    detail::TokenTexts texts_of(std::span<const TokenId> ids, const DecodeOptions& options) const {
        detail::TokenTexts texts;
        for (const TokenId id : ids) {
            require_token(id);
            if (options.skip_special_tokens && is_special(id)) continue;
            const AddedToken* added = added_token(id);
            texts.emplace_back(added ? core_->pipeline.added().normalized(*added) : model()[id]);
        }
        return texts;
    }

    template <class EncodeOne>
    void encode_parallel(std::span<const std::string_view> texts, EncodeOne&& encode_one) const {
        parallel_for_each(static_cast<std::int64_t>(texts.size()),
                          [&](std::int64_t i) { encode_one(static_cast<std::size_t>(i)); });
    }

    Encoding encode_texts(std::span<const std::string_view> texts, const EncodeOptions& options) const {
        const bool is_cut = options.truncate && truncation_;
        detail::EncodedTexts encoded;
        encoded.adds_tokens = options.add_special_tokens;
        encoded.texts_of_tokens = core_.get();
        for (std::size_t i = 0; i < texts.size(); ++i) {
            require_utf8(texts[i], options);
            detail::EncodeState state(0);
            state.tokens.has_spans = true;
            std::vector<std::size_t> ends, added_ends;
            if (is_cut) state.ends = &ends;
            core_->pipeline.encode(texts[i], options.special_tokens, state, is_cut ? &added_ends : nullptr);
            Encoding encoding;
            encoding.ids = std::move(state.tokens.ids);
            encoding.offsets = std::move(state.tokens.spans);
            encoding.type_ids.assign(encoding.ids.size(), static_cast<std::uint32_t>(i));
            encoding.special_mask.assign(encoding.ids.size(), 0);
            encoding.attention_mask.assign(encoding.ids.size(), 1);
            if (is_cut) limit(encoding, ends, added_ends, i);
            encoded.parts.push_back({std::move(encoding), texts[i]});
        }
        if (is_cut) {
            const std::size_t added =
                options.add_special_tokens ? detail::count_added(parts().post_processor, texts.size()) : 0;
            detail::truncate(encoded.parts[0].encoding,
                             texts.size() > 1 ? &encoded.parts[1].encoding : nullptr, *truncation_,
                             truncation_->max_length - std::min(added, truncation_->max_length));
        }
        Encoding whole = detail::process(parts().post_processor, std::move(encoded));
        if (options.pad && padding_) detail::pad({&whole, 1}, *padding_);
        return whole;
    }

    /// Cuts a text off after the piece with which it is long enough, as Hugging Face's tokenizers do: that
    /// decides which of two texts is the longer. They don't look at added tokens.
    void limit(Encoding& encoding, const std::vector<std::size_t>& ends,
               const std::vector<std::size_t>& added_ends, std::size_t index) const {
        if (truncation_->strategy == TruncationStrategy::only_second && index == 0) return;
        const std::size_t size = encoding.ids.size(), wanted = truncation_->max_length;
        const auto is_added = [&](std::size_t end) {
            return std::binary_search(added_ends.begin(), added_ends.end(), end);
        };
        if (truncation_->direction == Side::right) {
            for (const std::size_t end : ends) {
                if (end >= wanted && !is_added(end)) return detail::truncate(encoding, end, Side::right);
            }
        } else {
            for (std::size_t i = ends.size(); i-- > 0;) {
                const std::size_t begin = i == 0 ? 0 : ends[i - 1];
                if (size - begin >= wanted && !is_added(ends[i]))
                    return detail::truncate(encoding, size - begin, Side::left);
            }
        }
    }

    std::optional<TruncationOptions> truncation_;
    std::optional<PaddingOptions> padding_;
    std::shared_ptr<const Core> core_;
};

}  // namespace tenon
