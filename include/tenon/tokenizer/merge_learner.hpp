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
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/merge.hpp"

namespace tenon {

/// Which of the pairs that are equally frequent is merged first.
enum class MergeTies : std::uint8_t {
    greater_bytes,  ///< the one with the greater first token in the order of bytes, then the greater second
    lower_ids,  ///< the one whose first token came earlier, then the second, as in Hugging Face tokenizers
};

namespace detail {

/// Finds merges in words that are counted. Pairs are counted once; each merge then changes only the counts
/// around its occurrences, so that the work follows the number of tokens merged, however long the words.
class MergeLearner {
public:
    /// Words are made of the units of an alphabet. What tokens within a word begin with, `prefix`, is left
    /// out where the second of a pair is joined to the first.
    MergeLearner(std::span<const std::string> alphabet, MergeTies ties, std::string prefix = {})
        : prefix_(std::move(prefix)), ties_(ties), symbols_{absent} {
        for (const std::string& unit : alphabet) tokens_.add(unit);
        sizes_.assign(tokens_.size(), 1);
    }

    /// Adds a word that comes `count` times, as the numbers of its units. Throws Error beyond 2^32 - 2 units.
    void add_word(std::span<const TokenId> units, std::uint64_t count) {
        if (units.size() >= absent) {
            throw Error("expected words below 4294967295 units, got one of " + std::to_string(units.size()));
        }
        const auto index = static_cast<std::uint32_t>(words_.size());
        words_.push_back({symbols_.size(), count});
        symbols_.insert(symbols_.end(), units.begin(), units.end());
        symbols_.push_back(absent);
        for (std::uint32_t offset = 0; offset + 1 < units.size(); ++offset)
            add_occurrence(units[offset], units[offset + 1], {index, offset});
    }

    /// The tokens by id: the alphabet, then what the merges made.
    const StringTable& tokens() const { return tokens_; }

    /// The merges so far, as the ids of the tokens that they join.
    const std::vector<std::pair<TokenId, TokenId>>& merges() const { return merges_; }

    /// Merges the most frequent pair. Returns false if none is left that comes `minimum_count` times.
    bool learn_merge(std::uint64_t minimum_count = 1) {
        push_grown_pairs();
        const auto is_less = [this](const Candidate& a, const Candidate& b) { return ranks_below(a, b); };
        while (!heap_.empty()) {
            std::pop_heap(heap_.begin(), heap_.end(), is_less);
            Candidate best = heap_.back();
            heap_.pop_back();
            const std::uint64_t count = pairs_[best.pair].count;
            if (best.count == count) {
                if (count < minimum_count) return false;
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
        std::vector<Occurrence> occurrences{};  // some may have been merged away
        bool has_grown = false;
    };

    struct Candidate {
        std::uint64_t count;
        std::uint32_t pair;
    };

    /// The order of merging: the greater count first.
    bool ranks_below(const Candidate& a, const Candidate& b) const {
        if (a.count != b.count) return a.count < b.count;
        const Pair& pair_a = pairs_[a.pair];
        const Pair& pair_b = pairs_[b.pair];
        if (ties_ == MergeTies::lower_ids)
            return std::pair(pair_a.left, pair_a.right) > std::pair(pair_b.left, pair_b.right);
        if (pair_a.left != pair_b.left) return tokens_[pair_a.left] < tokens_[pair_b.left];
        return tokens_[pair_a.right] < tokens_[pair_b.right];
    }

    void add_occurrence(TokenId left, TokenId right, Occurrence occurrence) {
        const std::uint32_t index =
            index_of_pair_.add(left, right, static_cast<std::uint32_t>(pairs_.size()));
        if (index == pairs_.size()) pairs_.push_back({left, right});
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

    /// The token that two become. Two merges can make the same text: they are one token.
    TokenId join(TokenId left, TokenId right) {
        std::string_view second = tokens_[right];
        if (!prefix_.empty() && second.starts_with(prefix_)) second.remove_prefix(prefix_.size());
        const TokenId result = tokens_.add(std::string(tokens_[left]) += second);
        if (result == sizes_.size()) sizes_.push_back(sizes_[left] + sizes_[right]);
        return result;
    }

    void merge(std::uint32_t index) {
        const TokenId left = pairs_[index].left;
        const TokenId right = pairs_[index].right;
        merges_.emplace_back(left, right);
        const TokenId result = join(left, right);
        const std::uint32_t left_size = sizes_[left], size = sizes_[result];
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
            // A token's id lies at its first and its last unit, between which all is absent: its neighbours
            // are found without links.
            TokenId* const at = &symbols_[word.begin + occurrence.offset];
            if (at[0] != left || at[left_size] != right) continue;
            at[left_size - 1] = at[left_size] = absent;
            at[0] = at[size - 1] = result;
            if (const TokenId previous = at[-1]; previous != absent) {
                reduce_count(previous, left, word.count);
                add_occurrence(previous, result, {occurrence.word, occurrence.offset - sizes_[previous]});
            }
            if (const TokenId next = at[size]; next != absent) {
                reduce_count(right, next, word.count);
                add_occurrence(result, next, occurrence);
            }
        }
        pairs_[index].count = 0;
    }

    void reduce_count(TokenId left, TokenId right, std::uint64_t count) {
        pairs_[index_of_pair_.find(left, right)].count -= count;
    }

    std::string prefix_;
    MergeTies ties_;
    StringTable tokens_;
    std::vector<std::uint32_t> sizes_;  // of each token, in units
    std::vector<std::pair<TokenId, TokenId>> merges_;
    std::vector<TokenId> symbols_;  // the words, with `absent` before, between and after them
    std::vector<Word> words_;
    std::vector<Pair> pairs_;
    PairMap index_of_pair_;
    std::vector<std::uint32_t> grown_;
    std::vector<Candidate> heap_;
};

}  // namespace detail

}  // namespace tenon
