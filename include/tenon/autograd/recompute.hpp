#pragma once

#include <utility>

#include <tenon/autograd/tape.hpp>

namespace tenon {
namespace detail {

/// A region on the tape that keeps its input and forgets all between.
template <class F, class X>
struct RecomputeNode : Node {
    F region;
    X x;  // untracked
    SlotReference slot;

    void backward() {
        using T = typename X::value_type;
        using S = typename X::shape_type;
        using D = typename X::device_type;
        GradientSlot gradient;
        gradient.count = x.size();
        {
            // One tape for each depth of nesting, kept with its memory; a region may hold regions.
            thread_local Tape tapes[max_depth];
            thread_local int depth = 0;
            if (depth == max_depth) throw GraphError("recompute: regions are nested too deeply");
            struct Level {
                Level() { ++depth; }
                ~Level() { --depth; }
            };
            Tape::Nested nested(tapes[depth]);
            Level level;
            auto y = region(
                Tensor<T, S, D, Tracked>(x.storage(), x.data(), x.extents(), {}, Tracked(0, &gradient)));
            tenon::backward(y, std::span(upstream_of<typename decltype(y)::value_type, D>(*this),
                                         static_cast<std::size_t>(y.size())));
        }
        if (!slot || !gradient.written) return;
        contribute_elements<T, D>(static_cast<const GradientOf<T, D>*>(gradient.storage.data()), *slot);
    }

    static constexpr int max_depth = 8;
};

}  // namespace detail

/// f(x), trading time for memory: what f computes on the way is not kept for the gradient but computed again
/// when that is needed (Chen et al. 2016, "Training deep nets with sublinear memory cost"). f is copied; what
/// it refers to must outlive the backward pass, and the tracked values that it uses must be parameters or x.
template <class F, TensorLike X>
auto recompute(F f, const X& x) {
    if constexpr (X::is_tracked) {
        static_assert(X::is_packed, "recompute takes a packed tensor: pass contiguous(x)");
        Tape& tape = Tape::current();
        auto y = [&] {
            Tape::Pause pause(tape);
            return f(x);
        }();
        auto plain = detach(x);
        return track<detail::RecomputeNode<F, decltype(plain)>>(detach(y), std::move(f), plain,
                                                                gradient_slot(x));
    } else {
        return f(x);
    }
}

}  // namespace tenon
