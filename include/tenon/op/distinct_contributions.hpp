#pragma once

#include <tenon/autograd/tape.hpp>

namespace tenon::detail {

/// The contributions of one node to several slots, for kernels that fill all of them at once and so need
/// memory apart. A slot that was named before gets memory of its own; `finish` adds it to the slot, in the
/// order named.
template <class C, class Device, int count>
class DistinctContributions {
public:
    /// Null for no slot, where no gradient is wanted.
    Contribution<C> to(const SlotReference& slot) {
        const int own = named_++;
        slots_[own] = slot.get();
        if (!slot) return {};
        for (int i = 0; i < own; ++i) {
            if (slots_[i] != slots_[own]) continue;
            apart_[own] =
                Storage(Memory<Device>::allocate(static_cast<std::size_t>(slot->count) * sizeof(C)));
            return {static_cast<C*>(apart_[own].data()), false};
        }
        return contribute<C, Device>(*slot);
    }

    void finish() {
        for (int i = 0; i < named_; ++i) {
            if (!apart_[i]) continue;
            const Contribution<C> sum = contribute<C, Device>(*slots_[i]);
            Memory<Device>::add(static_cast<const C*>(apart_[i].data()), slots_[i]->count, sum.data);
        }
    }

private:
    GradientSlot* slots_[count] = {};
    Storage apart_[count];
    int named_ = 0;
};

}  // namespace tenon::detail
