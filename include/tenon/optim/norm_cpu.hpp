#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/optim/gradients.hpp>
#include <tenon/optim/loss_scale.hpp>
#include <tenon/optim/packets.hpp>

namespace tenon {

template <>
struct Kernel<GradientNorm, Cpu> {
    static constexpr std::int64_t block = 8192;

    template <class C>
    static double norm(const std::vector<ParameterBase*>& parameters) {
        double total = 0;
        for (const ParameterBase* parameter : parameters)
            if (parameter->gradient && parameter->gradient->written)
                total += sum_of_squares(static_cast<const C*>(parameter->gradient->storage.data()),
                                        parameter->size());
        return std::sqrt(total);
    }

    template <class C>
    static double clip(const std::vector<ParameterBase*>& parameters, double maximum) {
        const double before = norm<C>(parameters);
        scale_all<C>(parameters, clip_factor(before, maximum));
        return before;
    }

    template <class C>
    static void scale_all(const std::vector<ParameterBase*>& parameters, double factor) {
        if (factor == 1) return;
        for (const ParameterBase* parameter : parameters)
            if (parameter->gradient && parameter->gradient->written)
                scale(static_cast<C*>(parameter->gradient->storage.data()), parameter->size(),
                      static_cast<C>(factor));
    }

    /// Gradients are scaled at once, so that nothing is left for the update.
    struct Scale {};

    template <class C, bool has_loss_scale>
    class Scaling {
    public:
        Scaling() = default;
        explicit Scaling(std::vector<ParameterBase*> parameters) : parameters_(std::move(parameters)) {}

        double clip(double maximum, bool) {
            if constexpr (has_loss_scale)
                return unscale(maximum);
            else
                return Kernel::clip<C>(parameters_, maximum);
        }
        bool must_skip() {
            if constexpr (has_loss_scale) {
                if (!is_unscaled_) unscale(std::numeric_limits<double>::infinity());
                return !is_finite_;
            }
            return false;
        }
        Scale scale() const { return {}; }
        void begin_step(bool) {}
        void end_step() {
            if constexpr (has_loss_scale) loss_scale_.update(is_finite_, options_);
            is_unscaled_ = false;
        }

        /// Begins anew with other options.
        void set(const LossScaling& options) {
            options_ = options;
            loss_scale_ = {static_cast<float>(options.scale), 0};
        }
        double loss_scale() const { return static_cast<double>(loss_scale_.scale); }
        /// The seed of a backward pass, of type G, in memory that may be the device's.
        template <class G>
        Storage seed(double factor) const {
            Storage storage(Memory<Cpu>::allocate(sizeof(G)));
            *static_cast<G*>(storage.data()) = convert<G>(static_cast<float>(factor) * loss_scale_.scale);
            return storage;
        }
        float* scale_data() { return &loss_scale_.scale; }
        std::int64_t* age_data() { return &loss_scale_.age; }

    private:
        double unscale(double maximum) {
            const double scale = is_unscaled_ ? 1 : loss_scale(), before = norm<C>(parameters_) / scale;
            is_unscaled_ = true;
            is_finite_ = std::isfinite(before);
            if (is_finite_) scale_all<C>(parameters_, clip_factor(before, maximum) / scale);
            return before;
        }

        std::vector<ParameterBase*> parameters_;
        LossScaling options_;
        LossScale loss_scale_{static_cast<float>(options_.scale), 0};
        bool is_unscaled_ = false, is_finite_ = true;
    };

    /// Blocks of fixed length add up in packets, and the blocks in order.
    template <class C>
    static double sum_of_squares(const C* data, std::int64_t count) {
        using V = Packet<C>;
        const std::int64_t blocks = (count + block - 1) / block;
        Workspace workspace;
        double* partial = workspace.take<double>(static_cast<std::size_t>(blocks));
        parallel_for(blocks, 8, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t index = first; index < last; ++index) {
                V sum(C(0));
                detail::for_each_packet_within<C>(index * block, std::min(count, (index + 1) * block),
                                                  [&](std::int64_t at, int lanes) {
                                                      const V x = V::load_partial(data + at, lanes);
                                                      sum = fma(x, x, sum);
                                                  });
                partial[index] = static_cast<double>(sum.sum());
            }
        });
        double total = 0;
        for (std::int64_t index = 0; index < blocks; ++index) total += partial[index];
        return total;
    }

    template <class C>
    static void scale(C* data, std::int64_t count, C factor) {
        using V = Packet<C>;
        detail::for_each_packet<C>(count, [=](std::int64_t at, int lanes) {
            (V::load_partial(data + at, lanes) * V(factor)).store_partial(data + at, lanes);
        });
    }
};

}  // namespace tenon
