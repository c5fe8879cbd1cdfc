#pragma once

#include <concepts>
#include <cstdint>
#include <string>

#include <tenon/autograd/tape.hpp>
#include <tenon/core/error.hpp>
#include <tenon/core/pending.hpp>

namespace tenon {

/// The mean of losses whose sum a device works out: waited for when it is asked for.
template <class T, class Device>
class PendingMean {
public:
    PendingMean(const Pending<T, Device>& sum, int count) : sum_(sum), count_(count) {}

    operator double() const { return static_cast<double>(static_cast<T>(sum_)) / count_; }

private:
    Pending<T, Device> sum_;
    int count_;
};

namespace detail {

/// Calls backward(loss, factor) for each part's loss.
template <class LossOf, class Backward>
auto accumulate_gradients(int parts, LossOf&& loss_of, const Backward& backward) {
    using Loss = decltype(loss_of(0));
    using T = typename Loss::value_type;
    using Device = typename Loss::device_type;
    if (parts < 1) throw Error("gradients: expected at least one part, got " + std::to_string(parts));
    if constexpr (std::same_as<Device, Cpu>) {
        double sum = 0;
        for (int part = 0; part < parts; ++part) {
            const auto loss = loss_of(part);
            sum += static_cast<double>(loss.item());
            backward(loss, 1.0 / parts);
        }
        return sum / parts;
    } else {
        const Storage sum(Memory<Device>::allocate(sizeof(T)));
        T* const to = static_cast<T*>(sum.data());
        for (int part = 0; part < parts; ++part) {
            const auto loss = loss_of(part);
            if (part == 0)
                Memory<Device>::copy(static_cast<const T*>(loss.data()), 1, to);
            else
                Memory<Device>::add(static_cast<const T*>(loss.data()), 1, to);
            backward(loss, 1.0 / parts);
        }
        return PendingMean<T, Device>({sum, to}, parts);
    }
}

}  // namespace detail

/// One step's gradients from `parts` batches that are too large to go at once: calls loss_of(part) for each,
/// and adds up the gradients of the losses' mean. Returns that mean, on a GPU as PendingMean. Throws Error
/// for less than one part.
///
///     double loss = accumulate_gradients(4, [&](int part) {
///         const auto [inputs, targets] = batches(4 * step + part);
///         return cross_entropy(model(inputs), targets);
///     });
template <class LossOf>
auto accumulate_gradients(int parts, LossOf&& loss_of) {
    return detail::accumulate_gradients(parts, loss_of,
                                        [](const auto& loss, double factor) { backward(loss, factor); });
}

/// The same by the optimizer's backward passes, which scale the loss where its weights need that.
template <class LossOf, class Optimizer>
auto accumulate_gradients(int parts, LossOf&& loss_of, Optimizer& optimizer) {
    return detail::accumulate_gradients(
        parts, loss_of, [&](const auto& loss, double factor) { optimizer.backward(loss, factor); });
}

}  // namespace tenon
