#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/merge.hpp"
#include "tenon/tokenizer/piece_tables.hpp"
#include "tenon/tokenizer/step.hpp"
#include "tenon/tokenizer/tokens.hpp"

namespace tenon {

namespace detail {

/// Memory that models use. It can be used again for other texts of the same model.
struct ModelState {
    explicit ModelState(std::size_t cache_bytes) : cache(cache_bytes) {}

    PieceCache cache;
    ModelScratch scratch;
    TokenList made;                            // of one piece
    TokenList tokens;                          // what was made so far
    std::vector<std::size_t>* ends = nullptr;  // if wanted: the number of tokens after each piece
};

/// The most pieces that are looked up together.
inline constexpr std::size_t piece_batch = 64;

/// Leaves with `state` the tokens of a piece that isn't remembered, and remembers them under its hash. `key`
/// is a short piece's.
template <class Model>
std::span<const TokenId> encode_new(const Model& model, std::string_view bytes, const PieceKey& key,
                                    std::uint64_t hash, std::size_t offset, ModelState& state) {
    const bool is_short = bytes.size() <= PieceKey::maximum_size;
    std::vector<TokenId>& tokens = state.made.ids;
    tokens.clear();
    TokenId whole = absent;
    if constexpr (requires { model.whole_piece(key); }) {
        if (is_short) whole = model.whole_piece(key);
    }
    if (whole != absent) {
        tokens.push_back(whole);
    } else {
        model.encode(bytes, offset, state.scratch, state.made);
    }
    if (is_short) {
        if (tokens.size() > ShortPieceEntry::maximum_tokens) return tokens;
        ShortPieceEntry& entry = state.cache.short_pieces.add(hash);
        entry.key = key;
        entry.count = static_cast<std::uint32_t>(tokens.size());
        std::copy(tokens.begin(), tokens.end(), entry.tokens);
    } else if (bytes.size() <= LongPieceEntry::maximum_size &&
               tokens.size() <= LongPieceEntry::maximum_tokens) {
        LongPieceEntry& entry = state.cache.long_pieces.add(hash);
        entry.size = static_cast<std::uint8_t>(bytes.size());
        entry.count = static_cast<std::uint8_t>(tokens.size());
        std::copy(bytes.begin(), bytes.end(), entry.bytes);
        std::copy(tokens.begin(), tokens.end(), entry.tokens);
    }
    return tokens;
}

/// Appends the tokens of at most piece_batch pieces that are not to be cut.
template <class Model>
void encode_uncut(const Model& model, std::string_view text, std::span<const Span> pieces,
                  ModelState& state) {
    // Pieces lie in the text: unlike `part`, this doesn't look, twice for each of them.
    const auto bytes_of = [&](std::size_t i) {
        return std::string_view(text.data() + pieces[i].begin, pieces[i].size());
    };
    // All keys come first, so that memory is read for many pieces at once.
    std::array<PieceKey, piece_batch> keys;  // of short pieces
    std::array<std::uint64_t, piece_batch> hashes;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const std::string_view bytes = bytes_of(i);
        if (bytes.size() <= PieceKey::maximum_size) {
            keys[i] = key_of_piece(bytes, text.size() - pieces[i].begin);
            hashes[i] = keys[i].hash();
            state.cache.short_pieces.prefetch(hashes[i]);
        } else if (bytes.size() <= LongPieceEntry::maximum_size) {
            hashes[i] = LongPieceEntry::hash_of(bytes);
            state.cache.long_pieces.prefetch(hashes[i]);
        }
    }
    std::vector<TokenId>& ids = state.tokens.ids;
    std::array<TokenId, piece_batch * LongPieceEntry::maximum_tokens> found;
    TokenId* end = found.data();
    const auto append = [&](std::span<const TokenId> tokens) {
        if (tokens.size() <= LongPieceEntry::maximum_tokens) {
            end = std::copy(tokens.begin(), tokens.end(), end);
        } else {
            ids.insert(ids.end(), found.data(), end);
            ids.insert(ids.end(), tokens.begin(), tokens.end());
            end = found.data();
        }
    };
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const std::string_view bytes = bytes_of(i);
        if (bytes.size() <= PieceKey::maximum_size) {
            const ShortPieceEntry& entry = state.cache.short_pieces[hashes[i]];
            if (entry.key == keys[i]) {
                std::copy_n(entry.tokens, 4, end);  // most have fewer
                if (entry.count > 4)
                    std::copy_n(entry.tokens + 4, ShortPieceEntry::maximum_tokens - 4, end + 4);
                end += entry.count;
                continue;
            }
        } else if (bytes.size() <= LongPieceEntry::maximum_size) {
            const LongPieceEntry& entry = state.cache.long_pieces[hashes[i]];
            if (entry.is_of(bytes)) {
                std::copy_n(entry.tokens, LongPieceEntry::maximum_tokens, end);
                end += entry.count;
                continue;
            }
        }
        append(encode_new(model, bytes, keys[i], hashes[i], pieces[i].begin, state));
    }
    ids.insert(ids.end(), found.data(), end);
}

/// Calls on_part(span) for the parts into which a model cuts a piece by itself.
template <class Model, class OnPart>
void for_each_part(const Model& model, std::string_view text, Span piece, OnPart&& on_part) {
    if constexpr (requires { model.first_cut(text); }) {
        while (piece.size() > 0) {
            const std::size_t size = model.first_cut(part(text, piece));
            on_part(Span{piece.begin, piece.begin + size});
            piece.begin += size;
        }
    } else {
        on_part(piece);
    }
}

/// Appends the tokens of pieces of a text.
template <class Model>
void encode_pieces(const Model& model, std::string_view text, std::span<const Span> pieces,
                   ModelState& state) {
    if (state.tokens.has_spans || state.ends) {
        for (const Span piece : pieces) {
            for_each_part(model, text, piece, [&](Span span) {
                model.encode(part(text, span), span.begin, state.scratch, state.tokens);
            });
            if (state.ends) state.ends->push_back(state.tokens.ids.size());
        }
        return;
    }
    if constexpr (requires { model.first_cut(text); }) {
        if (model.cuts_pieces()) {
            std::array<Span, piece_batch> batch;
            std::size_t count = 0;
            for (const Span piece : pieces) {
                for_each_part(model, text, piece, [&](Span span) {
                    batch[count++] = span;
                    if (count < piece_batch) return;
                    encode_uncut(model, text, batch, state);
                    count = 0;
                });
            }
            return encode_uncut(model, text, std::span<const Span>(batch.data(), count), state);
        }
    }
    for (; !pieces.empty(); pieces = pieces.subspan(std::min(pieces.size(), piece_batch)))
        encode_uncut(model, text, pieces.first(std::min(pieces.size(), piece_batch)), state);
}

}  // namespace detail

/// What makes tokens of pieces of text: BytePair, WordPiece, Unigram, WordLevel or SentencePieceBpe. A
/// program contains only the models that it names. Copies share the model.
class TokenizerModel {
public:
    template <class Model>
        requires requires(const Model& model, detail::ModelScratch& scratch, detail::TokenList& tokens) {
            model.encode("", 0, scratch, tokens);
        }
    TokenizerModel(Model model)
        : object_(static_cast<const Interface*>(new Holder<Model>(std::move(model)))) {}

    /// The model, if it is of this type.
    template <class Model>
    const Model* get_if() const {
        return static_cast<const Model*>(object_->model_of(&detail::type_tag<Model>));
    }

    /// Appends the tokens of pieces of a text to state.tokens.
    void encode(std::string_view text, std::span<const Span> pieces, detail::ModelState& state) const {
        object_->encode(text, pieces, state);
    }

    /// Where the model cuts a piece by itself: the first place after its begin, or its end.
    std::size_t first_cut(std::string_view piece) const { return object_->first_cut(piece); }

    /// One more than the greatest id.
    TokenId size() const { return object_->size(); }
    /// The number of tokens.
    std::size_t count() const { return object_->count(); }
    bool has(TokenId id) const { return object_->has(id); }
    /// The text of a token, as its file writes it.
    std::string_view operator[](TokenId id) const { return object_->text(id); }
    /// The id of the token with a text, or `detail::absent`.
    TokenId find(std::string_view text) const { return object_->find(text); }
    /// The bytes that a token stands for in a piece.
    std::string_view token_bytes(TokenId id) const { return object_->bytes(id); }
    /// Whether the model begins with the bytes of a piece, whatever characters they make.
    bool has_byte_units() const { return object_->has_byte_units(); }

private:
    struct Interface {
        virtual ~Interface() = default;
        virtual void encode(std::string_view text, std::span<const Span> pieces,
                            detail::ModelState& state) const = 0;
        virtual std::size_t first_cut(std::string_view piece) const = 0;
        virtual TokenId size() const = 0;
        virtual std::size_t count() const = 0;
        virtual bool has(TokenId id) const = 0;
        virtual std::string_view text(TokenId id) const = 0;
        virtual TokenId find(std::string_view text) const = 0;
        virtual std::string_view bytes(TokenId id) const = 0;
        virtual bool has_byte_units() const = 0;
        virtual const void* model_of(const char* type) const = 0;
    };

    template <class Model>
    struct Holder final : Interface {
        explicit Holder(Model value) : model(std::move(value)) {}

        void encode(std::string_view text, std::span<const Span> pieces,
                    detail::ModelState& state) const override {
            detail::encode_pieces(model, text, pieces, state);
        }
        std::size_t first_cut(std::string_view piece) const override {
            if constexpr (requires { model.first_cut(piece); }) return model.first_cut(piece);
            return piece.size();
        }
        TokenId size() const override { return model.vocabulary().size(); }
        std::size_t count() const override { return model.vocabulary().count(); }
        bool has(TokenId id) const override { return model.vocabulary().has(id); }
        std::string_view text(TokenId id) const override { return model.vocabulary()[id]; }
        TokenId find(std::string_view text) const override { return model.vocabulary().find(text); }
        std::string_view bytes(TokenId id) const override {
            if constexpr (requires { model.token_bytes(id); }) return model.token_bytes(id);
            return text(id);
        }
        bool has_byte_units() const override {
            if constexpr (requires { model.has_byte_units(); }) return model.has_byte_units();
            return false;
        }
        const void* model_of(const char* type) const override {
            return type == &detail::type_tag<Model> ? &model : nullptr;
        }

        Model model;
    };

    std::shared_ptr<const Interface> object_;
};

}  // namespace tenon
