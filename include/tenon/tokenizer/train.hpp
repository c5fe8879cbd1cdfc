#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/merge_learner.hpp"
#include "tenon/tokenizer/special_tokens.hpp"
#include "tenon/tokenizer/split.hpp"
#include "tenon/tokenizer/tokenizer.hpp"
#include "tenon/tokenizer/vocabulary_files.hpp"
#include "tenon/tokenizer/word_counts.hpp"

namespace tenon {

/// How merges are learned.
struct BytePairTrainingOptions {
    std::uint64_t minimum_count = 1;  ///< a pair that comes less often in the text is not merged
    MergeTies ties = MergeTies::greater_bytes;
};

/// Trains a byte-pair tokenizer on text that comes in parts (Sennrich et al. 2016). Memory grows with the
/// number of distinct words, not with the text.
class BytePairTrainer {
public:
    /// Special tokens cut the text, never merge, and get ids. Throws Error for one that is empty, no UTF-8,
    /// or given twice.
    explicit BytePairTrainer(std::vector<std::string> special_tokens = {})
        : special_tokens_(std::move(special_tokens)),
          splitter_(detail::SpecialTokenFinder(special_tokens_)) {}

    /// Takes the next part of a text.
    void push(std::string_view text) {
        splitter_.push(
            text, [this](std::string_view piece, std::string_view) { words_.add(piece); },
            [](std::size_t) {});
    }

    /// Ends a text: no word reaches into what is pushed next.
    void finish() {
        splitter_.finish([this](std::string_view piece, std::string_view) { words_.add(piece); },
                         [](std::size_t) {});
    }

    /// Takes the texts of files, on several threads; no word reaches from one into another. Calls
    /// progress(bytes so far) now and then. Throws FileError.
    template <class Progress>
    void read(std::span<const std::string> paths, Progress&& progress) {
        finish();
        const detail::SpecialTokenFinder finder(special_tokens_);
        count_words(
            paths, special_tokens_,
            [&](std::string_view text, auto&& sink) {
                detail::split_text(
                    text, finder, true, [&](std::string_view word, std::string_view) { sink(word); },
                    [](std::size_t) {});
            },
            words_, progress);
    }

    /// The number of distinct words that were read: what time and memory of training grow with.
    std::uint32_t distinct_words() const { return words_.size(); }

    /// Learns merges until the vocabulary has `vocabulary_size` tokens, or no pair is left. In GPT-2's order:
    /// the 256 bytes (the printable ones first), what the merges made, the special tokens. Each merge joins
    /// the pair that is most frequent within words; of equals, the one that `options` say. Calls
    /// on_progress(tokens so far, vocabulary_size) after each new token. Ends a text that `finish` did not.
    /// Throws Error if the bytes and the special tokens do not fit.
    template <std::invocable<std::size_t, std::size_t> OnProgress>
    Tokenizer train(std::size_t vocabulary_size, OnProgress&& on_progress,
                    const BytePairTrainingOptions& options = {}) {
        finish();
        detail::MergeLearner learner = make_learner(options.ties);
        // A special token can have the bytes of another: it is that token.
        std::size_t special_count = 0;
        for (const std::string& token : special_tokens_) {
            special_count += learner.tokens().find(token) == detail::absent;
        }
        if (vocabulary_size < 256 + special_count) {
            throw Error("expected a vocabulary of at least " + std::to_string(256 + special_count) +
                        " tokens, for the bytes and the special tokens, got " +
                        std::to_string(vocabulary_size));
        }
        std::size_t size = learner.tokens().size();
        while (size + special_count < vocabulary_size && learner.learn_merge(options.minimum_count)) {
            if (learner.tokens().size() == size) continue;
            const std::string_view token = learner.tokens()[static_cast<std::uint32_t>(size++)];
            special_count -=
                static_cast<std::size_t>(std::count(special_tokens_.begin(), special_tokens_.end(), token));
            on_progress(size + special_count, vocabulary_size);
        }
        std::vector<std::string> vocabulary;
        for (std::uint32_t id = 0; id < size; ++id) vocabulary.emplace_back(learner.tokens()[id]);
        std::vector<std::pair<std::string, std::string>> merges;
        for (const auto& [left, right] : learner.merges())
            merges.emplace_back(learner.tokens()[left], learner.tokens()[right]);
        return Tokenizer(byte_pair_parts(vocabulary, merges, special_tokens_));
    }

    Tokenizer train(std::size_t vocabulary_size, const BytePairTrainingOptions& options = {}) {
        return train(
            vocabulary_size, [](std::size_t, std::size_t) {}, options);
    }

private:
    detail::MergeLearner make_learner(MergeTies ties) const {
        std::vector<std::string> alphabet;
        TokenId id_of_byte[256];
        for (TokenId id = 0; id < 256; ++id) {
            alphabet.emplace_back(1, static_cast<char>(detail::byte_order[id]));
            id_of_byte[detail::byte_order[id]] = id;
        }
        detail::MergeLearner learner(alphabet, ties);
        std::vector<TokenId> units;
        for (std::uint32_t index = 0; index < words_.size(); ++index) {
            units.clear();
            for (const char byte : words_.word(index))
                units.push_back(id_of_byte[static_cast<unsigned char>(byte)]);
            learner.add_word(units, words_.count(index));
        }
        return learner;
    }

    std::vector<std::string> special_tokens_;
    detail::TextSplitter splitter_;
    WordCounts words_;
};

/// Trains a tokenizer on one text, as BytePairTrainer does.
inline Tokenizer train_byte_pair_tokenizer(std::string_view text, std::size_t vocabulary_size,
                                           std::vector<std::string> special_tokens = {}) {
    BytePairTrainer trainer(std::move(special_tokens));
    trainer.push(text);
    return trainer.train(vocabulary_size);
}

}  // namespace tenon
