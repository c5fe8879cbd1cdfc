#pragma once

#include <cstdint>
#include <utility>

#include <tenon/core/element.hpp>
#include <tenon/core/storage.hpp>

namespace tenon {

namespace detail {
template <class T, class Device>
struct Gradient {
    using type = ComputeOf<T>;
};
template <class T>
struct Gradient<T, Cuda> {
    using type = T;
};
}  // namespace detail

/// The element type of the gradient of a value of type T that an operation computes. A GPU, whose memory is
/// its limit, keeps those of 16 bits in 16 bits; parameters add theirs up in `ComputeOf<T>` everywhere.
template <class T, class Device>
using GradientOf = typename detail::Gradient<T, Device>::type;

/// Where the gradient of one value gathers: packed, in the value's own shape, of `GradientOf` its element
/// type, or if `is_wide`, as a parameter's, of `ComputeOf`. Memory is taken at the first contribution, which
/// overwrites; later ones accumulate.
struct GradientSlot {
    Storage storage;
    std::int64_t count = 0;
    bool written = false;
    bool is_wide = false;
    bool is_shared = false;  // another slot may have the same memory, which is copied before it changes
};

/// A slot with a life of its own: a parameter's, which what was recorded from it keeps alive.
struct OwnedGradientSlot : MemoryBlock {
    GradientSlot slot;

    /// A new one, with one reference.
    static Storage create(std::int64_t count) {
        auto* owned = new OwnedGradientSlot;
        owned->slot.count = count;
        owned->slot.is_wide = true;
        owned->data = &owned->slot;
        owned->release = [](MemoryBlock* block) { delete static_cast<OwnedGradientSlot*>(block); };
        return Storage(owned);
    }
};

/// What a node keeps of an input: where its gradient goes (null: nowhere), kept alive.
class SlotReference {
public:
    SlotReference() = default;
    SlotReference(GradientSlot* slot, Storage owner) : slot_(slot), owner_(std::move(owner)) {}

    GradientSlot* get() const { return slot_; }
    const Storage& owner() const { return owner_; }
    GradientSlot& operator*() const { return *slot_; }
    GradientSlot* operator->() const { return slot_; }
    explicit operator bool() const { return slot_ != nullptr; }

private:
    GradientSlot* slot_ = nullptr;
    Storage owner_;
};

/// The part of a thread's tape that values need to know: which graph is being recorded, and how many handles
/// still refer to it. A graph that nothing refers to any more is dropped without a backward pass.
struct GraphState {
    std::uint64_t id = 0;
    std::int64_t live = 0;
    void (*abandon)(GraphState&) = nullptr;
};

namespace detail {
inline constinit thread_local GraphState* current_graph = nullptr;
}

/// Says by its type that a tensor takes no part in differentiation.
struct Untracked {
    static constexpr bool is_tracked = false;
};

/// Says by its type that a tensor's gradient is wanted, and links it to the place where that gathers.
/// Copies count as references to the graph; a parameter's link (graph 0) refers to none, and owns its slot.
/// The link of a constant that stands where others are tracked, a default one, has neither.
class Tracked {
public:
    static constexpr bool is_tracked = true;

    Tracked() = default;
    Tracked(std::uint64_t graph, GradientSlot* slot) : graph_(graph), slot_(slot) { retain(); }
    /// A parameter's link.
    explicit Tracked(const SlotReference& parameter) : slot_(parameter.get()), owner_(parameter.owner()) {}
    Tracked(const Tracked& other) : graph_(other.graph_), slot_(other.slot_), owner_(other.owner_) {
        retain();
    }
    Tracked(Tracked&& other) noexcept
        : graph_(std::exchange(other.graph_, 0)),
          slot_(std::exchange(other.slot_, nullptr)),
          owner_(std::move(other.owner_)) {}
    Tracked& operator=(Tracked other) noexcept {
        std::swap(graph_, other.graph_);
        std::swap(slot_, other.slot_);
        std::swap(owner_, other.owner_);
        return *this;
    }
    ~Tracked() { release(); }

    std::uint64_t graph() const { return graph_; }
    GradientSlot* slot() const { return slot_; }
    SlotReference reference() const { return {slot_, owner_}; }

private:
    [[gnu::noinline]] void retain() {
        if (GraphState* state = detail::current_graph; graph_ && state && state->id == graph_) ++state->live;
    }
    [[gnu::noinline]] void release() {
        GraphState* state = detail::current_graph;
        if (!graph_ || !state || state->id != graph_) return;
        if (--state->live == 0) state->abandon(*state);
    }

    std::uint64_t graph_ = 0;
    GradientSlot* slot_ = nullptr;
    Storage owner_;
};

}  // namespace tenon
