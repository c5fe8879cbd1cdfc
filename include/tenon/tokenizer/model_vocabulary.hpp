#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <variant>

#include "tenon/tokenizer/parts.hpp"

/// What all models have: tokens with texts and ids.
namespace tenon::detail {

/// One more than the greatest id.
inline std::size_t vocabulary_size(const Unigram& model) { return model.tokens().size(); }
template <class Model>
std::size_t vocabulary_size(const Model& model) {
    return model.vocabulary().size();
}

/// The number of tokens.
inline std::size_t token_count(const Unigram& model) { return model.tokens().size(); }
template <class Model>
std::size_t token_count(const Model& model) {
    return model.vocabulary().count();
}

inline bool has_token(const Unigram& model, TokenId id) { return id < model.tokens().size(); }
template <class Model>
bool has_token(const Model& model, TokenId id) {
    return model.vocabulary().has(id);
}

/// The text of a token.
inline std::string_view text_of(const Unigram& model, TokenId id) { return model.tokens()[id].text; }
template <class Model>
std::string_view text_of(const Model& model, TokenId id) {
    return model.vocabulary()[id];
}

/// The id of the token with a text, or `absent`.
inline TokenId find_token(const Unigram& model, std::string_view text) { return model.find(text); }
template <class Model>
TokenId find_token(const Model& model, std::string_view text) {
    return model.vocabulary().find(text);
}

inline std::size_t token_count(const TokenizerModel& model) {
    return std::visit([](const auto& model) { return token_count(model); }, model);
}
inline std::size_t vocabulary_size(const TokenizerModel& model) {
    return std::visit([](const auto& model) { return vocabulary_size(model); }, model);
}
inline bool has_token(const TokenizerModel& model, TokenId id) {
    return std::visit([id](const auto& model) { return has_token(model, id); }, model);
}
inline std::string_view text_of(const TokenizerModel& model, TokenId id) {
    return std::visit([id](const auto& model) { return text_of(model, id); }, model);
}
inline TokenId find_token(const TokenizerModel& model, std::string_view text) {
    return std::visit([text](const auto& model) { return find_token(model, text); }, model);
}

}  // namespace tenon::detail
