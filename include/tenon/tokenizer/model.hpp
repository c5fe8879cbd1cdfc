#pragma once

#include <algorithm>
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
    explicit ModelState(std::size_t bytes) : cache(bytes) {}

    PieceCache cache;
    ModelScratch scratch;
    TokenList tokens;                          // what was made so far
    std::vector<std::size_t>* ends = nullptr;  // if wanted: the number of tokens after each piece
};

/// Appends the tokens of a piece that was not found by a key, and keeps them.
template <class Model>
void encode_long(const Model& model, std::string_view bytes, std::size_t offset, ModelState& state) {
    std::vector<TokenId>& ids = state.tokens.ids;
    if (bytes.empty() || bytes.size() > PieceCache::LongEntry::maximum_size)
        return model.encode(bytes, offset, state.scratch, state.tokens);
    PieceCache::LongEntry& entry = state.cache.long_entry(bytes);
    if (entry.is_of(bytes)) {
        ids.insert(ids.end(), entry.tokens, entry.tokens + entry.count);
        return;
    }
    const std::size_t before = ids.size();
    model.encode(bytes, offset, state.scratch, state.tokens);
    const std::size_t count = ids.size() - before;
    if (count > PieceCache::LongEntry::maximum_tokens) return;
    entry.size = static_cast<std::uint8_t>(bytes.size());
    entry.count = static_cast<std::uint8_t>(count);
    std::copy(bytes.begin(), bytes.end(), entry.bytes);
    std::copy_n(ids.begin() + static_cast<std::ptrdiff_t>(before), count, entry.tokens);
}

/// Appends the tokens of a piece that is not to be cut, and keeps them.
template <class Model>
void encode_uncut(const Model& model, std::string_view text, Span piece, ModelState& state) {
    TokenList& tokens = state.tokens;
    const std::string_view bytes = part(text, piece);
    if (tokens.has_spans) return model.encode(bytes, piece.begin, state.scratch, tokens);
    if (bytes.size() > PieceKey::maximum_size) return encode_long(model, bytes, piece.begin, state);
    const PieceKey key = key_of_piece(bytes, text.substr(piece.begin));
    PieceCache::Entry& entry = state.cache.entry(key);
    if (entry.key != key) {
        TokenId whole = absent;
        if constexpr (requires { model.whole_piece(key); }) whole = model.whole_piece(key);
        if (whole == absent) {
            const std::size_t before = tokens.ids.size();
            encode_long(model, bytes, piece.begin, state);
            const std::size_t count = tokens.ids.size() - before;
            if (count > PieceCache::Entry::maximum_tokens) {
                entry = {key, PieceCache::Entry::elsewhere, {}};
                return;
            }
            entry = {key, static_cast<std::uint32_t>(count), {}};
            std::copy_n(tokens.ids.begin() + static_cast<std::ptrdiff_t>(before), count, entry.tokens);
            return;
        }
        entry = {key, 1, {whole}};
    }
    if (entry.count == 1) {
        tokens.ids.push_back(entry.tokens[0]);
    } else if (entry.count == PieceCache::Entry::elsewhere) {
        encode_long(model, bytes, piece.begin, state);
    } else {
        tokens.ids.insert(tokens.ids.end(), entry.tokens, entry.tokens + entry.count);
    }
}

/// Appends the tokens of pieces of a text.
template <class Model>
void encode_pieces(const Model& model, std::string_view text, std::span<const Span> pieces,
                   ModelState& state) {
    for (Span piece : pieces) {
        if constexpr (requires { model.first_cut(text); }) {
            while (piece.size() > 0) {
                const std::size_t size = model.first_cut(part(text, piece));
                encode_uncut(model, text, {piece.begin, piece.begin + size}, state);
                piece.begin += size;
            }
        } else {
            encode_uncut(model, text, piece, state);
        }
        if (state.ends) state.ends->push_back(state.tokens.ids.size());
    }
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
