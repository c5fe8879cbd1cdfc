#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include <tenon/core/random.hpp>
#include <tenon/core/tensor.hpp>

namespace tenon {

/// Tokens, and for each the one that follows it.
template <class Token, class S, class Device = Cpu>
struct Batch {
    Tensor<Token, S, Device> inputs, targets;
};

/// Memory of batches of tokens, a passage after the other.
template <class Token>
struct BatchMemory {
    Token *inputs, *targets;
};

namespace detail {

inline void require_lengths(int batch_size, int time) {
    if (batch_size <= 0 || time <= 0)
        throw ShapeError("batches: expected a positive batch size and time, got " +
                         std::to_string(batch_size) + " and " + std::to_string(time));
}

inline void require_tokens(std::size_t count, std::int64_t needed) {
    if (count < static_cast<std::size_t>(needed))
        throw ShapeError("batches: expected at least " + std::to_string(needed) + " tokens, got " +
                         std::to_string(count));
}

/// Throws ShapeError where a length is missing, not positive, or not that of S.
template <class S>
void require_extents(const Extents& extents) {
    require_lengths(extents[0], extents[1]);
    if (!may_convert(extents, S::codes)) throw_mismatch<mismatch::assignment>(extents, S::codes);
}

/// Writes batch number `step` of extents [batch, time]; its passages begin where from(number) points, with
/// the number of a passage among those of all batches. Throws Error where the step is negative.
template <class Token, class From>
void write_random_batch(const Extents& extents, std::int64_t step, From&& from,
                        const BatchMemory<Token>& to) {
    if (step < 0) throw Error("batches: expected a step of at least 0, got " + std::to_string(step));
    const int size = extents[0], time = extents[1];
    for (int i = 0; i < size; ++i) {
        const Token* begin = from(static_cast<std::uint64_t>(step) * static_cast<std::uint64_t>(size) +
                                  static_cast<std::uint64_t>(i));
        std::copy_n(begin, time, to.inputs + std::int64_t{i} * time);
        std::copy_n(begin + 1, time, to.targets + std::int64_t{i} * time);
    }
}

/// Batch number `step` of what writes batches, in tensors of its own.
template <class Batches>
auto batch_of(const Batches& batches, std::int64_t step) {
    using Values = Tensor<typename Batches::token_type, typename Batches::S>;
    Batch<typename Batches::token_type, typename Batches::S> batch{Values::with_extents(batches.extents()),
                                                                   Values::with_extents(batches.extents())};
    batches.write(step, {batch.inputs.data(), batch.targets.data()});
    return batch;
}

}  // namespace detail

/// Batches of passages that begin anywhere in a sequence of tokens, each place as likely as the next (CS336's
/// `get_batch`). Batch number `step` is a function of the seed and the step alone, so a run can be taken up
/// anywhere.
///
///     RandomBatches<32, 256, std::uint16_t> batches(file.tokens(), seed(42));
///     auto [inputs, targets] = batches(step);      // [32, 256] each
template <auto BatchSize, auto Time, class Token>
class RandomBatches {
public:
    using token_type = Token;
    using S = Shape<BatchSize, Time>;

    /// The tokens must outlive the batches. The lengths are needed where the types leave them open. Throws
    /// ShapeError where one is missing, not positive or not the type's, or where there are fewer tokens than
    /// a passage and its last target.
    explicit RandomBatches(std::span<const Token> tokens, Seed seed,
                           int batch_size = bound_of(extent_code(BatchSize)),
                           int time = bound_of(extent_code(Time)))
        : tokens_(tokens), random_(seed), extents_(batch_size, time) {
        detail::require_extents<S>(extents_);
        detail::require_tokens(tokens.size(), std::int64_t{time} + 1);
    }

    /// [batch, time].
    const Extents& extents() const { return extents_; }

    /// Batch number `step`. Throws Error where that is negative.
    Batch<Token, S> operator()(std::int64_t step) const { return detail::batch_of(*this, step); }

    /// The same, into memory of the caller's.
    void write(std::int64_t step, const BatchMemory<Token>& to) const {
        const std::uint64_t places = tokens_.size() - static_cast<std::size_t>(extents_[1]);
        detail::write_random_batch(
            extents_, step,
            [&](std::uint64_t number) { return tokens_.data() + random_.below(places, number); }, to);
    }

private:
    std::span<const Token> tokens_;
    Philox random_;
    Extents extents_;
};

/// Consecutive passages of a sequence of tokens, for evaluation: each token but the first is a target once.
/// The last batches are shorter.
template <class Token>
class ConsecutiveBatches {
public:
    using S = Shape<dyn, dyn>;

    /// The tokens must outlive the batches. Throws ShapeError where a length is not positive, or where there
    /// are fewer tokens than 2.
    ConsecutiveBatches(std::span<const Token> tokens, int batch_size, int time)
        : tokens_(tokens), batch_size_(batch_size), time_(time) {
        detail::require_lengths(batch_size, time);
        detail::require_tokens(tokens.size(), 2);
    }

    /// Number of batches.
    std::int64_t size() const {
        const std::int64_t whole = targets() / time_, rest = targets() % time_;
        return (whole + batch_size_ - 1) / batch_size_ + (rest > 0 ? 1 : 0);
    }

    /// Batch number `number`. Throws Error where there is no such batch.
    Batch<Token, S> operator()(std::int64_t number) const {
        if (number < 0 || number >= size())
            throw Error("batches: expected a number of at least 0 and below " + std::to_string(size()) +
                        ", got " + std::to_string(number));
        const std::int64_t whole = targets() / time_;
        const std::int64_t first = number * batch_size_;
        if (first >= whole) return passages(whole * time_, 1, static_cast<int>(targets() % time_));
        return passages(first * time_, static_cast<int>(std::min<std::int64_t>(batch_size_, whole - first)),
                        time_);
    }

private:
    std::int64_t targets() const { return static_cast<std::int64_t>(tokens_.size()) - 1; }

    Batch<Token, S> passages(std::int64_t begin, int count, int time) const {
        const std::size_t length = static_cast<std::size_t>(count) * static_cast<std::size_t>(time);
        return {Tensor<Token, S>::from(tokens_.subspan(static_cast<std::size_t>(begin), length), count, time),
                Tensor<Token, S>::from(tokens_.subspan(static_cast<std::size_t>(begin) + 1, length), count,
                                       time)};
    }

    std::span<const Token> tokens_;
    int batch_size_, time_;
};

}  // namespace tenon
