#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <tenon/autograd/tape.hpp>
#include <tenon/core/mismatch.hpp>
#include <tenon/core/storage.hpp>
#include <tenon/core/tensor.hpp>

namespace tenon {

/// Cross-entropy: log sum exp(logits) - logits[target], in nats, at one position or as the mean over those
/// that count.
struct CrossEntropy {
    /// The positions whose logits are in memory at once where gradients come with the loss.
    static constexpr int gradient_block = 256;
    /// On a GPU, about the bytes that logits take at once. Larger chunks are faster, by a little.
    static inline std::int64_t gpu_chunk_bytes = std::int64_t{800} << 20;
};

struct CrossEntropyOptions {
    /// The target of positions that do not count: any id, of the vocabulary or not.
    std::optional<std::int64_t> ignore = {};
    /// The share of the target's probability that is spread evenly over the whole vocabulary, the target
    /// included (Szegedy et al. 2016, "Rethinking the Inception architecture").
    double label_smoothing = 0;
    /// So many times (log sum exp(logits))² is added at each position, which keeps softmax's denominator near
    /// one (Chowdhery et al. 2022, "PaLM").
    double z_loss = 0;
};

namespace mismatch {
/// cross_entropy(logits, targets): targets must have the shape of logits without its last axis.
template <class Logits, class Targets>
struct cross_entropy_targets_differ;
}  // namespace mismatch

constexpr bool cross_entropy_fits(const Extents& logits, const Extents& targets) {
    if (logits.rank != targets.rank + 1) return false;
    for (int axis = 0; axis < targets.rank; ++axis)
        if (extents_conflict(logits[axis], targets[axis])) return false;
    return true;
}

/// The factors of a product that logits are, or are the sum of, and where their gradients go, of no memory:
/// not wanted.
template <class T, class W, class G>
struct LogitsFactors {
    ArrayView<T> hidden;  ///< [..., width]
    ArrayView<W> head;    ///< [vocabulary, width]
    Contribution<G> to_hidden, to_head;

    std::int64_t width() const { return head.extents[1]; }
    bool wants_gradients() const { return to_hidden.has_memory() || to_head.has_memory(); }
};

namespace detail {

/// Targets that have been checked, in their device's memory: how many positions count, and for each position
/// the number of its logit, or -1 where it does not count.
struct CheckedTargets {
    Storage storage;
    std::int64_t size = 0;

    std::int64_t* counted() const { return static_cast<std::int64_t*>(storage.data()); }
    std::int32_t* numbers() const { return reinterpret_cast<std::int32_t*>(counted() + 1); }
    static std::size_t bytes_of(std::int64_t size) {
        return sizeof(std::int64_t) + static_cast<std::size_t>(size) * sizeof(std::int32_t);
    }
};

/// Throws ShapeError for extents other than those of `logits` and for no target at all, Error for an option
/// or an id out of range.
template <class Targets>
CheckedTargets check_targets(const Extents& logits, const Targets& targets,
                             const CrossEntropyOptions& options) {
    using D = typename Targets::device_type;
    if (!cross_entropy_fits(logits, targets.extents()))
        throw_mismatch<mismatch::cross_entropy_targets_differ>(logits, targets.extents());
    if (targets.size() == 0) throw ShapeError("cross_entropy: expected at least one target, got none");
    if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1))
        throw Error("cross_entropy: expected a label smoothing from 0 to 1, got " +
                    std::to_string(options.label_smoothing));
    if (!(options.z_loss >= 0 && options.z_loss <= std::numeric_limits<double>::max()))
        throw Error("cross_entropy: expected a finite z-loss of at least 0, got " +
                    std::to_string(options.z_loss));
    CheckedTargets checked;
    checked.size = targets.size();
    checked.storage = Storage(Memory<D>::allocate(CheckedTargets::bytes_of(checked.size)));
    Kernel<CrossEntropy, D>::check_targets(targets.data(), logits[logits.rank - 1], options.ignore, checked);
    return checked;
}

}  // namespace detail
}  // namespace tenon
