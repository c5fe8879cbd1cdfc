#pragma once

#include <cstdint>
#include <utility>

#include <tenon/core/random.hpp>
#include <tenon/op/dropout/dropout.hpp>

namespace tenon {

/// Names the masks of one pass of training: equal keys give equal masks, so each step has a key of its own.
struct DropoutKey {
    Seed seed;
    std::uint64_t step = 0;
    /// If set, the device reads there what is added to the step: in work that is captured once and replayed.
    const std::uint64_t* step_in_memory = nullptr;
};

/// A pass without dropout.
struct NoDropout {
    template <class X>
    X operator()(X&& x, int) const {
        return std::forward<X>(x);
    }
    NoDropout of_block(int) const { return {}; }
};

/// Dropout throughout a model (Srivastava et al. 2014): of the embedding, and of what each branch adds to the
/// residual.
class ModelDropout {
public:
    ModelDropout(double probability, const DropoutKey& key, int depth)
        : probability_(probability),
          key_(key),
          streams_a_step_(2 * static_cast<std::uint64_t>(depth) + 1),
          // The upper half of all streams: parameters and batches that share the seed use the lower.
          stream_((std::uint64_t{1} << 63) + key.step * streams_a_step_) {}

    const DropoutKey& key() const { return key_; }

    /// `branch`: 0 or 1 within a block.
    template <class X>
    auto operator()(X&& x, int branch) const {
        return dropout(std::forward<X>(x),
                       Dropout{probability_, key_.seed, stream_ + static_cast<std::uint64_t>(branch),
                               key_.step_in_memory, streams_a_step_});
    }

    /// That of a block's branches. The embedding has the stream before them.
    ModelDropout of_block(int index) const {
        ModelDropout result = *this;
        result.stream_ += 1 + 2 * static_cast<std::uint64_t>(index);
        return result;
    }

private:
    double probability_;
    DropoutKey key_;
    std::uint64_t streams_a_step_, stream_;
};

/// For as long as it lives this thread runs a pass of training: said to layers that are not given what drops
/// out, as adapters are.
class TrainingPass {
public:
    explicit TrainingPass(const DropoutKey& key) : key_(key), outer_(std::exchange(current, &key_)) {}
    TrainingPass(const TrainingPass&) = delete;
    TrainingPass& operator=(const TrainingPass&) = delete;
    ~TrainingPass() { current = outer_; }

    /// The key of this thread's pass of training; nullptr: it is in none.
    static const DropoutKey* key() { return current; }

private:
    static inline thread_local const DropoutKey* current = nullptr;

    DropoutKey key_;
    const DropoutKey* outer_;
};

}  // namespace tenon
