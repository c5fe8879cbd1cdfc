#pragma once

#include <tenon/autograd/tape.hpp>

namespace tenon {
namespace detail {

template <class Device, class T, class L>
struct SideLossNode : Node {
    SlotReference y, loss;
    double factor;

    void backward() {
        const auto to = contribute<L, Device>(*loss);
        Memory<Device>::fill(to.data, 1, GradientOf<L, Device>(factor));
        hand_on(*this, *y);
    }
};

}  // namespace detail

/// y, whose backward pass is one of a loss, too, times `factor`: for losses of what a region computes that is
/// run again (see `recompute`), and so gives nothing out but its result. Neither may be used elsewhere.
template <TensorLike Y, TensorLike Loss>
    requires(Y::is_tracked&& Loss::is_tracked)
Y with_side_loss(const Y& y, const Loss& loss, double factor) {
    using T = typename Y::value_type;
    using D = typename Y::device_type;
    return track<detail::SideLossNode<D, T, typename Loss::value_type>>(detach(y), gradient_slot(y),
                                                                        gradient_slot(loss), factor);
}

}  // namespace tenon
