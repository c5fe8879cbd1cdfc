#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <utility>

#include <tenon/core/error.hpp>
#include <tenon/core/tensor.hpp>

namespace tenon {

/// One recorded operation, or one whole fused expression. A node is typed by operation and element type only;
/// extents are values in it. Derived nodes provide `void backward()`, which reads the gradient of `output`
/// and contributes to those of the inputs.
struct Node {
    Node* previous = nullptr;
    void (*run)(Node&) = nullptr;
    void (*destroy)(Node&) = nullptr;
    GradientSlot output;
};

/// Memory of a gradient, and whether a kernel adds to it or writes it first. One of the two pointers is set:
/// `wide` for a parameter whose gradient is of another type than G.
template <class G>
struct Contribution {
    G* data = nullptr;
    bool accumulate = false;
    ComputeOf<G>* wide = nullptr;

    constexpr bool has_memory() const { return data || wide; }
};

namespace detail {

/// Gives a slot memory of its own.
template <class G, class Device>
[[gnu::noinline]] void own(GradientSlot& slot) {
    slot.is_shared = false;
    if (slot.storage.is_unique()) return;
    const Storage shared = std::move(slot.storage);
    slot.storage = Storage(Memory<Device>::allocate(static_cast<std::size_t>(slot.count) * sizeof(G)));
    if (slot.written)
        Memory<Device>::copy(static_cast<const G*>(shared.data()), slot.count,
                             static_cast<G*>(slot.storage.data()));
}

}  // namespace detail

/// Makes the gradient of a node's output that of an input, which must have none yet: both have its memory.
inline void hand_on(const Node& node, GradientSlot& slot) {
    slot.storage = node.output.storage;
    slot.written = slot.is_shared = true;
}

/// Announces a contribution to the slot of a value of type T; takes memory at the first.
template <class T, class Device>
Contribution<GradientOf<T, Device>> contribute(GradientSlot& slot) {
    using G = GradientOf<T, Device>;
    const bool is_wide = !std::same_as<G, ComputeOf<G>> && slot.is_wide;
    if (slot.is_shared) detail::own<G, Device>(slot);
    if (!slot.storage)
        slot.storage = Storage(Memory<Device>::allocate(static_cast<std::size_t>(slot.count) *
                                                        (is_wide ? sizeof(ComputeOf<G>) : sizeof(G))));
    void* const data = slot.storage.data();
    const bool accumulate = std::exchange(slot.written, true);
    if (is_wide) return {nullptr, accumulate, static_cast<ComputeOf<G>*>(data)};
    return {static_cast<G*>(data), accumulate};
}

/// The gradient of a node's output, of type T.
template <class T, class Device>
const GradientOf<T, Device>* upstream_of(const Node& node) {
    return static_cast<const GradientOf<T, Device>*>(node.output.storage.data());
}

/// Contributes packed elements as they are to the slot of a value of type T.
template <class T, class Device>
void contribute_elements(const GradientOf<T, Device>* from, GradientSlot& slot) {
    const auto to = contribute<T, Device>(slot);
    if constexpr (!std::same_as<GradientOf<T, Device>, ComputeOf<T>>)
        if (to.wide) return Memory<Device>::widen(from, slot.count, to.wide, to.accumulate);
    if (to.accumulate)
        Memory<Device>::add(from, slot.count, to.data);
    else
        Memory<Device>::copy(from, slot.count, to.data);
}

/// The nodes of one thread's graph in the order they were recorded. Nodes live in chunks that are kept from
/// step to step, so that recording allocates nothing once the first step has run.
class Tape : GraphState {
public:
    Tape() {
        id = next_id();
        abandon = [](GraphState& state) { static_cast<Tape&>(state).drop(); };
    }
    Tape(const Tape&) = delete;
    Tape& operator=(const Tape&) = delete;
    ~Tape() {
        clear();
        while (chunk_) {
            Chunk* next = chunk_->next;
            ::operator delete(chunk_);
            chunk_ = next;
        }
        if (detail::current_graph == this) detail::current_graph = nullptr;
    }

    /// The tape of this thread.
    static Tape& current() {
        if (!detail::current_graph) detail::current_graph = &thread_tape();
        return *static_cast<Tape*>(detail::current_graph);
    }

    /// Whether operations on tracked tensors are recorded; not within the first pass of `recompute`.
    bool is_recording() const { return paused_ == 0; }

    /// Records a node of type N that was constructed from `arguments`; its output has `count` elements.
    template <class N, class... Arguments>
    Tracked record(std::int64_t count, Arguments&&... arguments) {
        if (!is_recording()) return Tracked(id, nullptr);
        N* node = new (place(sizeof(N), alignof(N))) N{{}, std::forward<Arguments>(arguments)...};
        node->previous = std::exchange(last_, node);
        node->run = [](Node& base) { static_cast<N&>(base).backward(); };
        node->destroy = [](Node& base) { static_cast<N&>(base).~N(); };
        node->output.count = count;
        return Tracked(id, &node->output);
    }

    /// The slot behind a link; null for a constant, and while recording is paused, where values have none.
    /// Throws GraphError where the link is not of the graph being recorded, or of a value that was made while
    /// recording was paused.
    SlotReference slot(const Tracked& link) const {
        if (link.graph() != 0 && link.graph() != id) throw_foreign(link.graph());
        if (!link.slot() && link.graph() != 0 && is_recording())
            throw GraphError(
                "the value was made while recording was paused: write detach(…) to use it as a constant");
        return link.reference();
    }

    /// Runs all nodes, last to first, each only if its output received a gradient; the graph is then
    /// consumed.
    void run_backward() {
        running_ = true;
        try {
            while (last_) {
                if (last_->output.written) last_->run(*last_);
                pop();
            }
        } catch (...) {
            running_ = false;
            clear();
            throw;
        }
        running_ = false;
        clear();
    }

    /// Within its scope operations on tracked tensors compute, and record nothing.
    class Pause {
    public:
        explicit Pause(Tape& tape) : tape_(tape) { ++tape_.paused_; }
        Pause(const Pause&) = delete;
        Pause& operator=(const Pause&) = delete;
        ~Pause() { --tape_.paused_; }

    private:
        Tape& tape_;
    };

    /// Within its scope this thread records on another tape; for a region's recomputation.
    class Nested {
    public:
        explicit Nested(Tape& inner)
            : outer_(std::exchange(detail::current_graph, static_cast<GraphState*>(&inner))) {}
        Nested(const Nested&) = delete;
        Nested& operator=(const Nested&) = delete;
        ~Nested() { detail::current_graph = outer_; }

    private:
        GraphState* outer_;
    };

    /// Number of nodes that wait for a backward pass.
    int node_count() const {
        int count = 0;
        for (const Node* node = last_; node; node = node->previous) ++count;
        return count;
    }

private:
    struct Chunk {
        Chunk* next;
        std::size_t used;
        std::size_t capacity;
    };

    static Tape& thread_tape() {
        thread_local Tape tape;
        return tape;
    }

    // The upper bits name the thread that recorded a graph, the lower ones count its graphs.
    static constexpr int sequence_bits = 40;
    static std::uint64_t next_id() {
        static std::atomic<std::uint64_t> threads{0};
        thread_local std::uint64_t next = (threads.fetch_add(1) + 1) << sequence_bits;
        return ++next;
    }

    [[noreturn, gnu::noinline, gnu::cold]] void throw_foreign(std::uint64_t graph) const {
        if (graph >> sequence_bits != id >> sequence_bits)
            throw GraphError("the value was recorded by another thread: each thread has a tape of its own");
        throw GraphError(
            "the value's graph is gone: a backward pass has already run, which consumes all that the thread "
            "has recorded "
            "(a second backward needs a second forward), or a region under recompute refers to a tracked "
            "value that is not "
            "its argument");
    }

    void* place(std::size_t bytes, std::size_t alignment) {
        for (;;) {
            if (active_) {
                const std::size_t begin = (active_->used + alignment - 1) / alignment * alignment;
                if (begin + bytes <= active_->capacity) {
                    active_->used = begin + bytes;
                    return reinterpret_cast<std::byte*>(active_) + begin;
                }
            }
            Chunk* following = active_ ? active_->next : chunk_;
            if (!following) {
                constexpr std::size_t chunk_bytes = std::size_t{1} << 16;
                const std::size_t capacity = bytes + alignment + sizeof(Chunk) > chunk_bytes
                                                 ? bytes + alignment + sizeof(Chunk)
                                                 : chunk_bytes;
                following = static_cast<Chunk*>(::operator new(capacity));
                following->next = nullptr;
                following->capacity = capacity;
                (active_ ? active_->next : chunk_) = following;
            }
            following->used = sizeof(Chunk);
            active_ = following;
        }
    }

    void pop() {
        Node* node = std::exchange(last_, last_->previous);
        node->destroy(*node);
    }

    // No handle refers to the graph any more.
    void drop() {
        if (!running_) clear();
    }

    void clear() {
        while (last_) pop();
        active_ = nullptr;
        live = 0;
        id = next_id();
    }

    Node* last_ = nullptr;
    Chunk* chunk_ = nullptr;
    Chunk* active_ = nullptr;
    int paused_ = 0;
    bool running_ = false;
};

/// What a node keeps of an input: its elements, and where its gradient goes (null: nowhere).
template <class T>
struct Saved {
    Storage storage;
    ArrayView<T> view;
    SlotReference slot;
};

/// The slot of an operand, null for an untracked one. Throws GraphError for a value of another graph.
template <TensorLike X>
SlotReference gradient_slot(const X& x) {
    if constexpr (X::is_tracked)
        return Tape::current().slot(x.tracking());
    else
        return {};
}

template <TensorLike X>
Saved<typename X::value_type> save(const X& x) {
    return {x.storage(), x.view(), gradient_slot(x)};
}

/// Whether the result of an operation on these operands carries a gradient.
template <class... X>
inline constexpr bool any_tracked = (std::remove_cvref_t<X>::is_tracked || ...);

/// Records a node N{arguments...} and returns `result` as its output.
template <class N, class T, class S, class D, class... Arguments>
Tensor<T, S, D, Tracked> track(const Tensor<T, S, D>& result, Arguments&&... arguments) {
    Tracked link = Tape::current().record<N>(result.size(), std::forward<Arguments>(arguments)...);
    return {result.storage(), result.data(), result.extents(), {}, std::move(link)};
}

/// Computes the gradient of the sum of `y` times `seed` (packed, one number for each element of y, in the
/// memory of y's device or of the host) with respect to every parameter and tracked input that y was made
/// from, adding to what they hold. All that this thread has recorded is consumed. Throws like
/// `backward(loss)`.
template <TensorLike Y>
requires Y::is_tracked void backward(
    const Y& y, std::span<const GradientOf<typename Y::value_type, typename Y::device_type>> seed) {
    Tape& tape = Tape::current();
    const SlotReference slot = tape.slot(y.tracking());
    if (!slot) throw GraphError("backward: the value was made while recording was paused");
    if (static_cast<std::int64_t>(seed.size()) != y.size())
        throw ShapeError("backward: expected a seed of " + std::to_string(y.size()) + " elements, got " +
                         std::to_string(seed.size()));
    using T = typename Y::value_type;
    using Device = typename Y::device_type;
    using G = GradientOf<T, Device>;
    if (std::same_as<Device, Cpu> || (!slot->written && !slot->is_wide)) {
        contribute_elements<T, Device>(seed.data(), *slot);
    } else {  // kernels read the device's memory only
        const Storage moved(Memory<Device>::allocate(seed.size_bytes()));
        Memory<Device>::copy(seed.data(), y.size(), static_cast<G*>(moved.data()));
        contribute_elements<T, Device>(static_cast<const G*>(moved.data()), *slot);
    }
    tape.run_backward();
}

/// Computes the gradient of a scalar, times `factor`, with respect to every parameter and tracked input that
/// it was made from, adding to what they hold. All that this thread has recorded is consumed, so add losses
/// up first: `backward(Tensor(a + b))`. Throws GraphError at a second call on the same graph and for a graph
/// that another thread recorded, ShapeError where `loss` is not one element.
template <TensorLike X>
requires X::is_tracked void backward(const X& loss, double factor = 1) {
    if (loss.size() != 1)
        throw ShapeError("backward: expected a loss of one element, got " +
                         detail::shape_text(loss.extents()));
    using G = GradientOf<typename X::value_type, typename X::device_type>;
    using Seed = Tensor<G, Shape<>, typename X::device_type>;
    const Seed seed =
        Seed::filled(G(static_cast<ComputeOf<G>>(factor)));  // in the device's memory: no copy waits
    backward(loss, {seed.data(), 1});
}

}  // namespace tenon
