#pragma once

#include <tenon/autograd/tape.hpp>

namespace tenon::detail {

/// The contributions of one node to several slots, for kernels that fill all of them at once and so need
/// memory apart. A slot that was named before gets memory of its own; `finish` adds it to the slot, in the
/// order named.
template <class T, class Device, int count>
class DistinctContributions {
    using G = GradientOf<T, Device>;

public:
    /// Null for no slot, where no gradient is wanted.
    Contribution<G> to(const SlotReference& slot) {
        const int own = named_++;
        slots_[own] = slot.get();
        if (!slot) return {};
        for (int i = 0; i < own; ++i) {
            if (slots_[i] != slots_[own]) continue;
            apart_[own] =
                Storage(Memory<Device>::allocate(static_cast<std::size_t>(slot->count) * sizeof(G)));
            return {static_cast<G*>(apart_[own].data()), false};
        }
        return contribute<T, Device>(*slot);
    }

    void finish() {
        for (int i = 0; i < named_; ++i) {
            if (!apart_[i]) continue;
            contribute_elements<T, Device>(static_cast<const G*>(apart_[i].data()), *slots_[i]);
        }
    }

private:
    GradientSlot* slots_[count] = {};
    Storage apart_[count];
    int named_ = 0;
};

}  // namespace tenon::detail
