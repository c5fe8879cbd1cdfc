#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/core/huge_pages.hpp"
#include "tenon/tokenizer/hash_tables.hpp"

namespace tenon {

/// The number of a token in its vocabulary.
using TokenId = std::uint32_t;

namespace detail {

/// What two neighbouring tokens become, and when: the lower the rank, the earlier.
struct Merge {
    std::uint32_t rank = absent;
    TokenId result = absent;
};

/// The places of pairs that await their merge: of lowest rank first, of equals the leftmost. Places that come
/// in order, as most do, cost nothing more than their keeping.
class MergeAgenda {
public:
    void push(std::uint32_t rank, std::uint32_t at) {
        const std::uint32_t index = index_of_rank_.add(rank, 0, static_cast<std::uint32_t>(buckets_.size()));
        if (index == buckets_.size()) buckets_.emplace_back();
        Bucket& bucket = buckets_[index];
        if (bucket.is_empty()) {
            bucket = {};
            waiting_.push_back(std::uint64_t{rank} << 32 | index);
            std::push_heap(waiting_.begin(), waiting_.end(), std::greater<>());
        }
        if (bucket.ordered.empty() || bucket.ordered.back() < at) {
            bucket.ordered.push_back(at);
        } else {
            bucket.late.push_back(at);
            std::push_heap(bucket.late.begin(), bucket.late.end(), std::greater<>());
        }
    }

    bool is_empty() const { return waiting_.empty(); }

    struct Place {
        std::uint32_t rank;
        std::uint32_t at;
    };

    /// Takes the next place.
    Place pop() {
        const auto rank = static_cast<std::uint32_t>(waiting_.front() >> 32);
        Bucket& bucket = buckets_[static_cast<std::uint32_t>(waiting_.front())];
        std::uint32_t at;
        if (bucket.late.empty() ||
            (bucket.next < bucket.ordered.size() && bucket.ordered[bucket.next] < bucket.late.front())) {
            at = bucket.ordered[bucket.next++];
        } else {
            std::pop_heap(bucket.late.begin(), bucket.late.end(), std::greater<>());
            at = bucket.late.back();
            bucket.late.pop_back();
        }
        if (bucket.is_empty()) {
            std::pop_heap(waiting_.begin(), waiting_.end(), std::greater<>());
            waiting_.pop_back();
        }
        return {rank, at};
    }

private:
    struct Bucket {
        std::vector<std::uint32_t> ordered;
        std::size_t next = 0;             // in `ordered`
        std::vector<std::uint32_t> late;  // a heap

        bool is_empty() const { return next == ordered.size() && late.empty(); }
    };

    PairMap index_of_rank_;
    std::vector<Bucket> buckets_;
    std::vector<std::uint64_t> waiting_;  // a heap of ranks, with their buckets
};

/// The merges of a vocabulary.
class MergeTable {
public:
    std::size_t size() const { return size_; }

    /// Makes room for so many merges.
    void reserve(std::size_t count) {
        if (slots_.size() <= count + count / 2) rehash(std::bit_ceil(count + count / 2 + 1));
    }

    /// The pair's merge; one of rank `absent` if there is none.
    Merge find(TokenId left, TokenId right) const {
        const std::uint64_t key = key_of(left, right), hash = mix(key);
        if (!filter_.may_have(hash)) return {};
        return slots_[slot_of(key, hash)].merge;
    }

    /// Gives the pair a merge. Returns false if it had one, which is then lost.
    bool add(TokenId left, TokenId right, Merge merge) {
        if (slots_.size() <= size_ + size_ / 2) rehash(std::max<std::size_t>(64, 2 * slots_.size()));
        const std::uint64_t key = key_of(left, right);
        Slot& slot = slots_[slot_of(key, mix(key))];
        const bool is_new = slot.merge.rank == absent;
        slot = {key, merge};
        filter_.add(mix(key));
        if (left < low_ids && right < low_ids) {
            low_.resize(std::size_t{low_ids} * low_ids);
            low_[left * low_ids + right] = merge;
        }
        size_ += is_new;
        has_short_ranks_ &= merge.rank < short_rank_end;
        return is_new;
    }

    struct Entry {
        TokenId left;
        TokenId right;
        Merge merge;
    };

    /// Calls visit(left, right, merge) for each merge, in no set order.
    template <class Visit>
    void for_each(Visit&& visit) const {
        for (const Slot& slot : slots_) {
            if (slot.merge.rank != absent)
                visit(static_cast<TokenId>(slot.key >> 32), static_cast<TokenId>(slot.key), slot.merge);
        }
    }

    /// All merges by rank; of equal rank, by the tokens that they join.
    std::vector<Entry> in_order() const {
        std::vector<Entry> entries;
        for_each([&](TokenId left, TokenId right, const Merge& merge) {
            entries.push_back({left, right, merge});
        });
        std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
            if (a.merge.rank != b.merge.rank) return a.merge.rank < b.merge.rank;
            return a.left != b.left ? a.left < b.left : a.right < b.right;
        });
        return entries;
    }

    /// Byte-pair encodes a piece, given as the tokens of its units: of all neighbours the pair of lowest
    /// rank, the leftmost of equals, becomes one token, until no pair has a rank (Sennrich et al. 2016,
    /// "Neural Machine Translation of Rare Words with Subword Units"). `starts`, if wanted, receives the
    /// place of the unit that each token begins with. O(n log n) for n units. Throws Error beyond 2^32 - 2.
    void apply(std::vector<TokenId>& tokens, std::vector<std::uint32_t>* starts = nullptr) const {
        if (tokens.size() + 2 <= places && has_short_ranks_) {
            apply_by_scan(tokens, starts);
        } else {
            apply_by_agenda(tokens, starts);
        }
    }

private:
    struct Slot {
        std::uint64_t key = 0;
        Merge merge;
    };

    /// The places of a scan for every merge, which beats an agenda if they are few and a rank and a place fit
    /// into one word.
    static constexpr std::size_t places = 256;
    static constexpr std::uint32_t short_rank_end = absent / places;

    static std::uint64_t key_of(TokenId left, TokenId right) { return std::uint64_t{left} << 32 | right; }

    std::size_t slot_of(std::uint64_t key, std::uint64_t hash) const {
        const std::size_t mask = slots_.size() - 1;
        std::size_t at = hash & mask;
        while (slots_[at].merge.rank != absent && slots_[at].key != key) at = (at + 1) & mask;
        return at;
    }

    /// As `find`, faster for pairs of bytes in vocabularies that begin with these.
    Merge find_first(TokenId left, TokenId right) const {
        if (left >= low_ids || right >= low_ids) return find(left, right);
        return low_.empty() ? Merge{} : low_[left * low_ids + right];
    }

    /// Begins to read from memory what `find` reads.
    void prefetch(TokenId left, TokenId right) const {
        const std::uint64_t hash = mix(key_of(left, right));
        filter_.prefetch(hash);
        __builtin_prefetch(&slots_[hash & (slots_.size() - 1)]);
    }

    void rehash(std::size_t slots) {
        auto old = make_in_huge_pages<Slot>(slots);
        old.swap(slots_);
        filter_.reset(slots);
        for (const Slot& slot : old) {
            if (slot.merge.rank == absent) continue;
            slots_[slot_of(slot.key, mix(slot.key))] = slot;
            filter_.add(mix(slot.key));
        }
    }

    // Not inlined: g++ 12 would warn of places that it thinks are read before they are written.
    [[gnu::noinline]] void apply_by_scan(std::vector<TokenId>& tokens,
                                         std::vector<std::uint32_t>* starts) const {
        // Place 0 and the last one hold no token, which no merge joins. For each place whose token has a
        // merge with the next one, rank and place are one word: the least of these words says what comes
        // next.
        TokenId token[places], results[places];
        std::uint32_t waiting[places];
        std::uint8_t previous[places], next[places];
        const std::size_t size = tokens.size(), end = size + 1;
        token[0] = token[end] = absent;
        std::copy(tokens.begin(), tokens.end(), token + 1);
        for (std::size_t at = 0; at <= end; ++at) {
            previous[at] = static_cast<std::uint8_t>(at == 0 ? 0 : at - 1);
            next[at] = static_cast<std::uint8_t>(at == end ? end : at + 1);
        }
        const auto set = [&](std::size_t at, const Merge& merge) {
            results[at] = merge.result;
            if (merge.rank == absent) return waiting[at] = absent;
            // What this merge will ask for comes from memory while others are done.
            prefetch(token[previous[at]], merge.result);
            prefetch(merge.result, token[next[next[at]]]);
            return waiting[at] =
                       merge.rank * static_cast<std::uint32_t>(places) + static_cast<std::uint32_t>(at);
        };
        // Whole vectors at once, without branches.
        constexpr std::size_t lanes = 8;
        const std::size_t vectors = (size + lanes) / lanes;
        std::fill(waiting, waiting + lanes * vectors, absent);
        for (std::size_t at = 1; at < size; ++at) {  // all are read from memory at once
            if (token[at] >= low_ids || token[at + 1] >= low_ids) prefetch(token[at], token[at + 1]);
        }
        for (std::size_t at = 1; at < size; ++at) set(at, find_first(token[at], token[at + 1]));
        const auto find_least = [&] {
            std::uint32_t least = absent;
            for (std::size_t at = 0; at < lanes * vectors; ++at) least = std::min(least, waiting[at]);
            return least;
        };
        for (std::uint32_t least = find_least(); least != absent;) {
            const std::size_t at = least % places, merged_away = next[at];
            const std::size_t before = previous[at], after = next[merged_away];
            token[at] = results[at];
            next[at] = static_cast<std::uint8_t>(after);
            previous[after] = static_cast<std::uint8_t>(at);
            // The least of the others doesn't wait for the two merges that are looked up.
            waiting[before] = waiting[at] = waiting[merged_away] = absent;
            const std::uint32_t others = find_least();
            const std::uint32_t here = set(at, find(token[at], token[after]));
            least = std::min({others, here, set(before, find(token[before], token[at]))});
        }
        std::size_t count = 0;
        if (starts) starts->clear();
        for (std::size_t at = next[0]; at != end; at = next[at]) {
            if (starts) starts->push_back(static_cast<std::uint32_t>(at - 1));
            tokens[count++] = token[at];
        }
        tokens.resize(count);
    }

    void apply_by_agenda(std::vector<TokenId>& tokens, std::vector<std::uint32_t>* starts) const {
        if (tokens.size() >= absent) {
            throw Error("expected pieces of text below 4294967295 bytes, got one of " +
                        std::to_string(tokens.size()));
        }
        struct Neighbours {
            std::uint32_t previous;
            std::uint32_t next;
            Merge merge;  // of the token here and its next; none also once the token is merged away
        };
        const auto size = static_cast<std::uint32_t>(tokens.size());
        std::vector<Neighbours> links(size);
        MergeAgenda agenda;  // places that no longer hold are skipped
        const auto update = [&](std::uint32_t at) {
            const std::uint32_t next = links[at].next;
            links[at].merge = next == absent ? Merge{} : find(tokens[at], tokens[next]);
            if (links[at].merge.rank != absent) agenda.push(links[at].merge.rank, at);
        };
        for (std::uint32_t at = 0; at < size; ++at) {
            links[at] = {at == 0 ? absent : at - 1, at + 1 == size ? absent : at + 1, {}};
            update(at);
        }
        while (!agenda.is_empty()) {
            const auto [rank, at] = agenda.pop();
            if (links[at].merge.rank != rank) continue;
            const std::uint32_t merged_away = links[at].next;
            tokens[at] = links[at].merge.result;
            links[at].next = links[merged_away].next;
            links[merged_away].merge = {};
            if (links[at].next != absent) links[links[at].next].previous = at;
            update(at);
            if (links[at].previous != absent) update(links[at].previous);
        }
        std::size_t count = 0;
        if (starts) starts->clear();
        for (std::uint32_t at = 0; at != absent; at = links[at].next) {
            if (starts) starts->push_back(at);
            tokens[count++] = tokens[at];
        }
        tokens.resize(count);
    }

    std::vector<Slot> slots_;
    static constexpr TokenId low_ids = 256;
    std::vector<Merge> low_;  // of pairs of ids below low_ids, or empty if none has a merge
    HashFilter filter_;       // most pairs have no merge
    std::size_t size_ = 0;
    bool has_short_ranks_ = true;
};

}  // namespace detail

}  // namespace tenon
