#pragma once

#include <concepts>
#include <cstddef>
#include <utility>

#include <tenon/autograd/tape.hpp>
#include <tenon/core/element.hpp>

namespace tenon::detail {

/// The gradient of one input of type T that a node computes along with its value, as though the gradient of
/// its output were one; the backward pass scales it and hands it over. It lies in the memory of the slot that
/// it is for while that holds no gradient, so that a parameter's takes no more than it does anyway. The slot
/// knows nothing of it: whoever else contributes meanwhile takes new memory, and a graph that is dropped
/// takes what it has prepared along.
template <class T, class Device>
class PreparedGradient {
    using C = ComputeOf<T>;
    using G = GradientOf<T, Device>;

public:
    /// None for no slot, where no gradient is wanted.
    explicit PreparedGradient(SlotReference slot) : slot_(std::move(slot)) {
        if (!slot_) return;
        if (fits_slot() && !slot_->written) storage_ = slot_->storage.take();
        if (!storage_)
            storage_ = Storage(Memory<Device>::allocate(static_cast<std::size_t>(slot_->count) *
                                                        (is_wide() ? sizeof(C) : sizeof(G))));
    }

    /// Where it is to be written; without memory where no gradient is wanted.
    Contribution<G> target() const {
        if (!slot_) return {};
        if (is_wide()) return {nullptr, false, static_cast<C*>(storage_.data())};
        return {static_cast<G*>(storage_.data()), false};
    }

    /// Contributes the gradient times `upstream`, a number in the device's memory, by way of
    /// `add_scaled(from, count, upstream, contribution)`, which for data that is its own source scales in
    /// place.
    template <class AddScaled>
    void hand_over(const C* upstream, AddScaled&& add_scaled) {
        if (!slot_) return;
        if (fits_slot() && !slot_->written) slot_->storage = storage_;
        const Contribution<G> to = contribute<T, Device>(*slot_);
        add_scaled(target(), slot_->count, upstream, to);
    }

private:
    // Before it is scaled, the gradient of a mean may be too small for f16.
    bool is_wide() const { return !std::same_as<G, C> && (slot_->is_wide || std::same_as<G, f16>); }
    bool fits_slot() const { return std::same_as<G, C> || is_wide() == slot_->is_wide; }

    SlotReference slot_;
    Storage storage_;
};

}  // namespace tenon::detail
