#pragma once

#include <cstddef>
#include <utility>

#include <tenon/autograd/tape.hpp>

namespace tenon::detail {

/// The gradient of one input that a node computes along with its value, as though the gradient of its output
/// were one; the backward pass scales it and hands it over. It lies in the memory of the slot that it is for
/// while that holds no gradient, so that a parameter's takes no more than it does anyway. The slot knows
/// nothing of it: whoever else contributes meanwhile takes new memory, and a graph that is dropped takes what
/// it has prepared along.
template <class C, class Device>
class PreparedGradient {
public:
    /// None for no slot, where no gradient is wanted.
    explicit PreparedGradient(SlotReference slot) : slot_(std::move(slot)) {
        if (!slot_) return;
        if (!slot_->written) storage_ = slot_->storage.take();
        if (!storage_)
            storage_ = Storage(Memory<Device>::allocate(static_cast<std::size_t>(slot_->count) * sizeof(C)));
    }

    /// To be filled; null where no gradient is wanted.
    C* data() const { return static_cast<C*>(storage_.data()); }

    /// Contributes `upstream` times the gradient by way of `add_scaled(from, count, factor, contribution)`,
    /// which for data that is its own source scales in place.
    template <class AddScaled>
    void hand_over(C upstream, AddScaled&& add_scaled) {
        if (!slot_) return;
        const bool moves = !slot_->written;
        if (moves) slot_->storage = storage_;
        const Contribution<C> to = contribute<C, Device>(*slot_);
        if (!moves || upstream != C(1)) add_scaled(data(), slot_->count, upstream, to);
    }

private:
    SlotReference slot_;
    Storage storage_;
};

}  // namespace tenon::detail
