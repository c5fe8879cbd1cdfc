#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <tenon/training/batches.hpp>

namespace tenon {

/// A sequence of tokens, and how often passages are drawn from it: in proportion to its weight, whatever its
/// length.
template <class Token>
struct Corpus {
    std::span<const Token> tokens;
    double weight = 1;
};

/// Batches of passages from several sequences of tokens, each passage from one that is drawn by weight. Like
/// those of RandomBatches, batch number `step` is a function of the seed and the step alone; of one sequence,
/// they are the same batches.
///
///     MixedBatches<32, 256, std::uint16_t> batches({{books.tokens(), 0.7}, {code.tokens(), 0.3}}, seed(42));
///     auto [inputs, targets] = batches(step);      // [32, 256] each
template <auto BatchSize, auto Time, class Token>
class MixedBatches {
public:
    using token_type = Token;
    using S = Shape<BatchSize, Time>;

    /// The tokens must outlive the batches. The lengths are needed where the types leave them open. Throws
    /// ShapeError as RandomBatches does, and Error where there is no corpus, or a weight that is not a
    /// positive, finite number.
    explicit MixedBatches(std::vector<Corpus<Token>> corpora, Seed seed,
                          int batch_size = bound_of(extent_code(BatchSize)),
                          int time = bound_of(extent_code(Time)))
        : corpora_(std::move(corpora)), places_(seed), choices_(seed, 1), extents_(batch_size, time) {
        detail::require_extents<S>(extents_);
        if (corpora_.empty()) throw Error("batches: expected at least one corpus, got none");
        double total = 0;
        for (const Corpus<Token>& corpus : corpora_) {
            detail::require_tokens(corpus.tokens.size(), std::int64_t{time} + 1);
            if (!(corpus.weight > 0 && corpus.weight < 1e300))
                throw Error("batches: expected a positive, finite weight of a corpus, got " +
                            std::to_string(corpus.weight));
            total += corpus.weight;
        }
        double sum = 0;
        for (const Corpus<Token>& corpus : corpora_) shares_.push_back((sum += corpus.weight) / total);
        shares_.back() = 1;  // whatever rounding made of it
    }

    /// [batch, time].
    const Extents& extents() const { return extents_; }

    /// Batch number `step`. Throws Error where that is negative.
    Batch<Token, S> operator()(std::int64_t step) const { return detail::batch_of(*this, step); }

    /// The same, into memory of the caller's.
    void write(std::int64_t step, const BatchMemory<Token>& to) const {
        const auto from = [&](std::uint64_t number) {
            const std::span<const Token> tokens = corpora_[choice(number)].tokens;
            const std::uint64_t places = tokens.size() - static_cast<std::size_t>(extents_[1]);
            return tokens.data() + places_.below(places, number);
        };
        detail::write_random_batch(extents_, step, from, to);
    }

private:
    /// The corpus of a passage.
    std::size_t choice(std::uint64_t number) const {
        const double share = choices_.uniform(number);
        return static_cast<std::size_t>(std::upper_bound(shares_.begin(), shares_.end(), share) -
                                        shares_.begin());
    }

    std::vector<Corpus<Token>> corpora_;
    Philox places_, choices_;
    Extents extents_;
    std::vector<double> shares_;  // up to and with each corpus
};

}  // namespace tenon
