#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/merge_learner.hpp"
#include "tenon/tokenizer/unicode.hpp"
#include "tenon/tokenizer/word_counts.hpp"

namespace tenon {

/// How a WordPiece vocabulary is learned.
struct WordPieceTrainingOptions {
    std::size_t vocabulary_size = 30'000;
    std::uint64_t minimum_count = 1;           ///< a pair that comes less often is not merged
    std::size_t maximum_alphabet_size = 1000;  ///< the most frequent characters; words lose the others
    std::string continuing_prefix = "##";      ///< what tokens within a word begin with
    std::vector<std::string> special_tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
};

namespace detail {

/// Calls visit(character) for the characters of a word; bytes that are no UTF-8 are left out.
template <class Visit>
void for_each_character(std::string_view word, Visit&& visit) {
    while (!word.empty()) {
        const Utf8Character character = decode_utf8_character(word);
        if (character.code_point != Utf8Character::invalid) visit(word.substr(0, character.size));
        word.remove_prefix(character.size);
    }
}

/// The most frequent characters of the words, in the order of their code points.
inline StringTable alphabet_of(const WordCounts& words, std::size_t maximum_size) {
    WordCounts characters;
    for (std::uint32_t index = 0; index < words.size(); ++index)
        for_each_character(words.word(index), [&](std::string_view character) {
            characters.add(character, words.count(index));
        });
    std::vector<std::uint32_t> order(characters.size());
    for (std::uint32_t index = 0; index < characters.size(); ++index) order[index] = index;
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        return characters.count(a) > characters.count(b);
    });
    if (order.size() > maximum_size) order.resize(maximum_size);
    // The order of UTF-8 is that of code points.
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) { return characters.word(a) < characters.word(b); });
    StringTable alphabet;
    for (const std::uint32_t index : order) alphabet.add(characters.word(index));
    return alphabet;
}

}  // namespace detail

/// Learns the tokens of a WordPiece model by id, as Hugging Face tokenizers do: byte-pair merges of
/// characters (Sennrich et al. 2016), those within a word having the prefix. In this order: the special
/// tokens, the characters, the characters within words, what the merges made. Calls on_progress(tokens so
/// far, vocabulary size) after each new token. Throws Error if the special tokens and the characters do not
/// fit.
template <std::invocable<std::size_t, std::size_t> OnProgress>
std::vector<std::string> train_word_piece(const WordCounts& words, const WordPieceTrainingOptions& options,
                                          OnProgress&& on_progress) {
    const detail::StringTable alphabet = detail::alphabet_of(words, options.maximum_alphabet_size);
    detail::StringTable units;
    for (std::uint32_t index = 0; index < alphabet.size(); ++index) units.add(alphabet[index]);
    std::vector<std::vector<TokenId>> words_of_units(words.size());
    for (std::uint32_t index = 0; index < words.size(); ++index) {
        detail::for_each_character(words.word(index), [&](std::string_view character) {
            if (alphabet.find(character) == detail::absent) return;
            const bool is_first = words_of_units[index].empty();
            words_of_units[index].push_back(units.add(
                is_first ? std::string(character) : options.continuing_prefix + std::string(character)));
        });
    }
    std::vector<std::string> tokens = options.special_tokens, alphabet_and_prefixed;
    for (std::uint32_t index = 0; index < units.size(); ++index)
        alphabet_and_prefixed.emplace_back(units[index]);
    detail::MergeLearner learner(alphabet_and_prefixed, MergeTies::lower_ids, options.continuing_prefix);
    for (std::uint32_t index = 0; index < words.size(); ++index) {
        learner.add_word(words_of_units[index], words.count(index));
        words_of_units[index] = {};
    }
    const auto is_special = [&](std::string_view token) {
        return std::find(options.special_tokens.begin(), options.special_tokens.end(), token) !=
               options.special_tokens.end();
    };
    std::uint32_t taken = 0;
    const auto take_new = [&] {
        for (; taken < learner.tokens().size(); ++taken) {
            if (is_special(learner.tokens()[taken])) continue;
            tokens.emplace_back(learner.tokens()[taken]);
            on_progress(tokens.size(), options.vocabulary_size);
        }
    };
    take_new();
    if (tokens.size() > options.vocabulary_size) {
        throw Error("expected a vocabulary of at least " + std::to_string(tokens.size()) +
                    " tokens, for the special tokens and the characters, got " +
                    std::to_string(options.vocabulary_size));
    }
    while (tokens.size() < options.vocabulary_size && learner.learn_merge(options.minimum_count)) take_new();
    return tokens;
}

inline std::vector<std::string> train_word_piece(const WordCounts& words,
                                                 const WordPieceTrainingOptions& options = {}) {
    return train_word_piece(words, options, [](std::size_t, std::size_t) {});
}

}  // namespace tenon
