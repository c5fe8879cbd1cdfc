#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/byte_pair_tokenizer.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/special_tokens.hpp"
#include "tenon/tokenizer/split.hpp"

namespace tenon {

namespace detail {

/// Finds merges in words that are counted. Pairs are counted once; each merge then changes only the counts
/// around its occurrences, so that the work follows the number of tokens merged, however long the words.
class MergeLearner {
public:
    MergeLearner(const StringTable& words, std::span<const std::uint64_t> counts) {
        for (const std::uint8_t byte : byte_order) {
            const char character = static_cast<char>(byte);
            tokens_.add({&character, 1});
        }
        TokenId id_of_byte[256];
        for (TokenId id = 0; id < 256; ++id) id_of_byte[byte_order[id]] = id;
        symbols_.push_back(absent);
        for (std::uint32_t index = 0; index < words.size(); ++index) {
            const std::string_view word = words[index];
            if (word.size() >= absent) {
                throw Error("expected words below 4294967295 bytes, got one of " +
                            std::to_string(word.size()));
            }
            words_.push_back({symbols_.size(), counts[index]});
            for (const char byte : word) symbols_.push_back(id_of_byte[static_cast<unsigned char>(byte)]);
            symbols_.push_back(absent);
            for (std::uint32_t offset = 0; offset + 1 < word.size(); ++offset) {
                const TokenId* at = &symbols_[words_[index].begin + offset];
                add_occurrence(at[0], at[1], {index, offset});
            }
        }
        push_grown_pairs();
    }

    /// The tokens by id: the bytes in GPT-2's order, then what the merges made.
    const StringTable& tokens() const { return tokens_; }

    /// The merges so far, as byte strings.
    const std::vector<BytePairTokenizer::Merge>& merges() const { return merges_; }

    /// Merges the most frequent pair. Returns false if no pair is left.
    bool learn_merge() {
        const auto is_less = [this](const Candidate& a, const Candidate& b) { return ranks_below(a, b); };
        while (!heap_.empty()) {
            std::pop_heap(heap_.begin(), heap_.end(), is_less);
            Candidate best = heap_.back();
            heap_.pop_back();
            const std::uint64_t count = pairs_[best.pair].count;
            if (best.count == count) {
                merge(best.pair);
                return true;
            }
            // Counts that fell are corrected here; those that grew have another candidate.
            if (count == 0 || count > best.count) continue;
            best.count = count;
            heap_.push_back(best);
            std::push_heap(heap_.begin(), heap_.end(), is_less);
        }
        return false;
    }

private:
    struct Word {
        std::size_t begin;  // in symbols_
        std::uint64_t count;
    };

    /// Where a pair begins.
    struct Occurrence {
        std::uint32_t word;
        std::uint32_t offset;
    };

    struct Pair {
        TokenId left;
        TokenId right;
        std::uint64_t count = 0;
        std::vector<Occurrence> occurrences;  // some may have been merged away
        bool has_grown = false;
    };

    struct Candidate {
        std::uint64_t count;
        std::uint32_t pair;
    };

    /// The order of merging: the greater count first, then the greater bytes.
    bool ranks_below(const Candidate& a, const Candidate& b) const {
        if (a.count != b.count) return a.count < b.count;
        const Pair& pair_a = pairs_[a.pair];
        const Pair& pair_b = pairs_[b.pair];
        if (pair_a.left != pair_b.left) return tokens_[pair_a.left] < tokens_[pair_b.left];
        return tokens_[pair_a.right] < tokens_[pair_b.right];
    }

    void add_occurrence(TokenId left, TokenId right, Occurrence occurrence) {
        const std::uint32_t index =
            index_of_pair_.add(left, right, static_cast<std::uint32_t>(pairs_.size()));
        if (index == pairs_.size()) pairs_.push_back({left, right, 0, {}, false});
        Pair& pair = pairs_[index];
        pair.count += words_[occurrence.word].count;
        pair.occurrences.push_back(occurrence);
        if (!pair.has_grown) grown_.push_back(index);
        pair.has_grown = true;
    }

    void push_grown_pairs() {
        for (const std::uint32_t index : grown_) {
            pairs_[index].has_grown = false;
            if (pairs_[index].count == 0) continue;
            heap_.push_back({pairs_[index].count, index});
            std::push_heap(heap_.begin(), heap_.end(),
                           [this](const Candidate& a, const Candidate& b) { return ranks_below(a, b); });
        }
        grown_.clear();
    }

    void merge(std::uint32_t index) {
        const TokenId left = pairs_[index].left;
        const TokenId right = pairs_[index].right;
        merges_.emplace_back(tokens_[left], tokens_[right]);
        // Two merges can make the same bytes: they are one token.
        const TokenId result = tokens_.add(merges_.back().first + merges_.back().second);
        const std::size_t left_size = tokens_[left].size();
        const std::size_t size = tokens_[result].size();
        std::vector<Occurrence> occurrences = std::move(pairs_[index].occurrences);
        pairs_[index].occurrences = {};
        if (left == right) {
            // In a run, the leftmost merges first.
            std::sort(occurrences.begin(), occurrences.end(), [](const Occurrence& a, const Occurrence& b) {
                return a.word != b.word ? a.word < b.word : a.offset < b.offset;
            });
        }
        for (const Occurrence& occurrence : occurrences) {
            const Word& word = words_[occurrence.word];
            // A token's id lies at its first and its last byte, between which all is absent: its neighbours
            // are found without links.
            TokenId* const at = &symbols_[word.begin + occurrence.offset];
            if (at[0] != left || at[left_size] != right) continue;
            at[left_size - 1] = at[left_size] = absent;
            at[0] = at[size - 1] = result;
            if (const TokenId previous = at[-1]; previous != absent) {
                reduce_count(previous, left, word.count);
                const auto previous_size = static_cast<std::uint32_t>(tokens_[previous].size());
                add_occurrence(previous, result, {occurrence.word, occurrence.offset - previous_size});
            }
            if (const TokenId next = at[size]; next != absent) {
                reduce_count(right, next, word.count);
                add_occurrence(result, next, occurrence);
            }
        }
        pairs_[index].count = 0;
        push_grown_pairs();
    }

    void reduce_count(TokenId left, TokenId right, std::uint64_t count) {
        pairs_[index_of_pair_.find(left, right)].count -= count;
    }

    StringTable tokens_;
    std::vector<BytePairTokenizer::Merge> merges_;
    std::vector<TokenId> symbols_;  // the words, with `absent` before, between and after them
    std::vector<Word> words_;
    std::vector<Pair> pairs_;
    PairMap index_of_pair_;
    std::vector<std::uint32_t> grown_;
    std::vector<Candidate> heap_;
};

}  // namespace detail

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
            text, [this](std::string_view piece, std::string_view) { count(piece); }, [](std::size_t) {});
    }

    /// Ends a text: no word reaches into what is pushed next.
    void finish() {
        splitter_.finish([this](std::string_view piece, std::string_view) { count(piece); },
                         [](std::size_t) {});
    }

    /// Learns merges until the vocabulary has `vocabulary_size` tokens, or no pair is left. In GPT-2's order:
    /// the 256 bytes (the printable ones first), what the merges made, the special tokens. Each merge joins
    /// the pair that is most frequent within words; of equals, the one with the greater first token in the
    /// order of bytes, then with the greater second. Calls on_progress(tokens so far, vocabulary_size) after
    /// each new token. Ends a text that `finish` did not. Throws Error if the bytes and the special tokens do
    /// not fit.
    template <class OnProgress>
    BytePairTokenizer train(std::size_t vocabulary_size, OnProgress&& on_progress) {
        finish();
        detail::MergeLearner learner(words_, counts_);
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
        while (size + special_count < vocabulary_size && learner.learn_merge()) {
            if (learner.tokens().size() == size) continue;
            const std::string_view token = learner.tokens()[static_cast<std::uint32_t>(size++)];
            special_count -=
                static_cast<std::size_t>(std::count(special_tokens_.begin(), special_tokens_.end(), token));
            on_progress(size + special_count, vocabulary_size);
        }
        std::vector<std::string> vocabulary;
        for (std::uint32_t id = 0; id < size; ++id) vocabulary.emplace_back(learner.tokens()[id]);
        return BytePairTokenizer(vocabulary, learner.merges(), special_tokens_);
    }

    BytePairTokenizer train(std::size_t vocabulary_size) {
        return train(vocabulary_size, [](std::size_t, std::size_t) {});
    }

private:
    void count(std::string_view word) {
        const std::uint32_t index = words_.add(word);
        if (index == counts_.size()) counts_.push_back(0);
        ++counts_[index];
    }

    std::vector<std::string> special_tokens_;
    detail::TextSplitter splitter_;
    detail::StringTable words_;
    std::vector<std::uint64_t> counts_;
};

/// Trains a tokenizer on one text, as BytePairTrainer does.
inline BytePairTokenizer train_byte_pair_tokenizer(std::string_view text, std::size_t vocabulary_size,
                                                   std::vector<std::string> special_tokens = {}) {
    BytePairTrainer trainer(std::move(special_tokens));
    trainer.push(text);
    return trainer.train(vocabulary_size);
}

}  // namespace tenon
