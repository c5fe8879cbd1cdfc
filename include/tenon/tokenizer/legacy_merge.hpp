#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/merge.hpp"

namespace tenon {


namespace detail {

/// Two neighbouring tokens and the one that replaces them.
struct RankedMerge {
    TokenId left;
    TokenId right;
    TokenId result;
};

/// The merges of a vocabulary, by rank: the lower, the earlier.
class RankedMerges {
public:
    std::uint32_t size() const { return static_cast<std::uint32_t>(merges_.size()); }
    const RankedMerge& operator[](std::uint32_t rank) const { return merges_[rank]; }
    std::uint32_t rank_of(TokenId left, TokenId right) const { return ranks_.find(left, right); }

    /// Gives the merge the next rank. Returns false if the pair has one.
    bool add(const RankedMerge& merge) {
        const std::uint32_t rank = size();
        if (ranks_.add(merge.left, merge.right, rank) != rank) return false;
        merges_.push_back(merge);
        return true;
    }

    /// Byte-pair encodes a piece, given as the tokens of its bytes: of all neighbours the pair of lowest
    /// rank, the leftmost of equals, becomes one token, until no pair has a rank (Sennrich et al. 2016,
    /// "Neural Machine Translation of Rare Words with Subword Units"). O(n log n) for n tokens. Throws Error
    /// beyond 2^32 - 2.
    void apply(std::vector<TokenId>& tokens) const {
        if (tokens.size() <= short_size) {
            apply_by_scan(tokens);
        } else {
            apply_by_heap(tokens);
        }
    }

private:
    /// Up to here, a scan for every merge beats a heap.
    static constexpr std::size_t short_size = 64;

    void apply_by_scan(std::vector<TokenId>& tokens) const {
        std::uint32_t ranks[short_size];
        TokenId* const token = tokens.data();
        std::size_t size = tokens.size();
        for (std::size_t i = 0; i + 1 < size; ++i) ranks[i] = rank_of(token[i], token[i + 1]);
        while (size > 1) {
            const auto at = static_cast<std::size_t>(std::min_element(ranks, ranks + size - 1) - ranks);
            if (ranks[at] == absent) break;
            token[at] = merges_[ranks[at]].result;
            std::copy(token + at + 2, token + size, token + at + 1);
            std::copy(ranks + at + 1, ranks + size - 1, ranks + at);
            --size;
            if (at > 0) ranks[at - 1] = rank_of(token[at - 1], token[at]);
            if (at + 1 < size) ranks[at] = rank_of(token[at], token[at + 1]);
        }
        tokens.resize(size);
    }

    void apply_by_heap(std::vector<TokenId>& tokens) const {
        if (tokens.size() >= absent) {
            throw Error("expected pieces of text below 4294967295 bytes, got one of " +
                        std::to_string(tokens.size()));
        }
        struct Neighbours {
            std::uint32_t previous;
            std::uint32_t next;
            std::uint32_t rank;  // of the token here and its next; absent also once the token is merged away
        };
        const auto size = static_cast<std::uint32_t>(tokens.size());
        std::vector<Neighbours> links(size);
        std::vector<std::uint64_t> heap;  // rank and position; entries that no longer hold are skipped
        const auto is_later = [](std::uint64_t a, std::uint64_t b) { return a > b; };
        const auto entry = [](std::uint32_t rank, std::uint32_t at) {
            return std::uint64_t{rank} << 32 | at;
        };
        for (std::uint32_t at = 0; at < size; ++at) {
            const bool is_last = at + 1 == size;
            const std::uint32_t rank = is_last ? absent : rank_of(tokens[at], tokens[at + 1]);
            links[at] = {at == 0 ? absent : at - 1, is_last ? absent : at + 1, rank};
            if (rank != absent) heap.push_back(entry(rank, at));
        }
        std::make_heap(heap.begin(), heap.end(), is_later);
        const auto update_rank = [&](std::uint32_t at) {
            const std::uint32_t next = links[at].next;
            links[at].rank = next == absent ? absent : rank_of(tokens[at], tokens[next]);
            if (links[at].rank == absent) return;
            heap.push_back(entry(links[at].rank, at));
            std::push_heap(heap.begin(), heap.end(), is_later);
        };
        while (!heap.empty()) {
            std::pop_heap(heap.begin(), heap.end(), is_later);
            const auto rank = static_cast<std::uint32_t>(heap.back() >> 32);
            const auto at = static_cast<std::uint32_t>(heap.back());
            heap.pop_back();
            if (links[at].rank != rank) continue;
            const std::uint32_t merged_away = links[at].next;
            tokens[at] = merges_[rank].result;
            links[at].next = links[merged_away].next;
            links[merged_away].rank = absent;
            if (links[at].next != absent) links[links[at].next].previous = at;
            update_rank(at);
            if (links[at].previous != absent) update_rank(links[at].previous);
        }
        std::size_t count = 0;
        for (std::uint32_t at = 0; at != absent; at = links[at].next) tokens[count++] = tokens[at];
        tokens.resize(count);
    }

    std::vector<RankedMerge> merges_;
    PairMap ranks_;
};

}  // namespace detail

}  // namespace tenon
