#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <tenon/core/pending.hpp>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/optim/chunks.cuh>
#include <tenon/optim/gradients.hpp>
#include <tenon/optim/loss_scale.hpp>

namespace tenon {
namespace cuda {

/// What clipping leaves in the device's memory.
struct Clipped {
    double norm, factor;
};

template <class C>
struct GradientArray {
    C* data;  // null: none at this step
    std::int64_t count;

    bool operator==(const GradientArray&) const = default;
};

/// The sum of squares of each chunk.
template <class C>
__global__ void __launch_bounds__(chunk_threads)
    square_sums(const Chunk* chunks, const GradientArray<C>* gradients, double* sums) {
    __shared__ double scratch[chunk_threads / warp_size];
    const Chunk chunk = chunks[blockIdx.x];
    const GradientArray<C> gradient = gradients[chunk.array];
    double total = 0;
    if (gradient.data)
        for_each_pack<16 / sizeof(C)>(chunk, gradient.count, true, [&](std::int64_t at, auto n) {
            C x[decltype(n)::value];
            load(gradient.data + at, x);
#pragma unroll
            for (const C each : x)
                total = __builtin_fma(static_cast<double>(each), static_cast<double>(each), total);
        });
    total = reduce_block(total, Sum(), scratch);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

/// Adds the chunks' sums up, by one block. `loss_scale`, where there is one: what the gradients are too large
/// by; where they are not finite then, the factor is no number, which says that the step is to be left out.
inline constexpr unsigned finish_threads = 1024;
template <unsigned threads>
__global__ void __launch_bounds__(threads) finish_norm(const double* sums, std::int64_t count, double maximum,
                                                       const LossScale* loss_scale, Clipped* result) {
    __shared__ double scratch[threads / warp_size];
    double total = 0;
    for (std::int64_t i = threadIdx.x; i < count; i += threads) total += sums[i];
    total = reduce_block(total, Sum(), scratch);
    if (threadIdx.x != 0) return;
    const double scale = loss_scale ? static_cast<double>(loss_scale->scale) : 1,
                 norm = ::sqrt(total) / scale;
    double factor = clip_factor(norm, maximum) / scale;
    if (loss_scale && !(norm < __builtin_huge_val())) factor = __builtin_nan("");
    *result = {norm, factor};
}

/// Moves the loss's scale after a step.
template <class Options>
__global__ void update_loss_scale(const Clipped* clipped, Options options, LossScale* loss_scale) {
    loss_scale->update(clipped->factor == clipped->factor, options);
}

template <class G>
__global__ void scale_seed(const LossScale* loss_scale, float factor, G* seed) {
    *seed = convert<G>(factor * loss_scale->scale);
}

template <class C>
__global__ void __launch_bounds__(chunk_threads)
    scale_gradients(const Chunk* chunks, const GradientArray<C>* gradients, const Clipped* clipped) {
    const double factor = clipped->factor;
    if (factor == 1) return;  // also where the norm is not finite
    const Chunk chunk = chunks[blockIdx.x];
    const GradientArray<C> gradient = gradients[chunk.array];
    if (!gradient.data) return;
    for_each_pack<16 / sizeof(C)>(chunk, gradient.count, true, [&](std::int64_t at, auto n) {
        C x[decltype(n)::value];
        load(gradient.data + at, x);
#pragma unroll
        for (C& each : x) each *= static_cast<C>(factor);
        store(x, gradient.data + at);
    });
}

}  // namespace cuda

template <>
struct Kernel<GradientNorm, Cuda> {
    /// A factor in the device's memory; null: 1.
    struct Scale {
        const double* factor = nullptr;
    };

    /// Gradients stay as they are, and the update scales them as it reads them.
    template <class C, bool has_loss_scale>
    class Scaling {
    public:
        Scaling() = default;
        explicit Scaling(std::vector<ParameterBase*> parameters)
            : parameters_(std::move(parameters)), arrays_(parameters_.size()) {
            clipped_ = allocated<cuda::Clipped>(1);
            if constexpr (has_loss_scale) {
                loss_scale_ = allocated<LossScale>(1);
                set({});
            }
            if (parameters_.empty()) return;
            std::vector<std::int64_t> counts;
            for (const ParameterBase* parameter : parameters_) counts.push_back(parameter->size());
            chunks_ = cuda::Chunks(counts);
            device_arrays_ = allocated<cuda::GradientArray<C>>(counts.size());
            upload();
            sums_ = allocated<double>(static_cast<std::size_t>(chunks_.count()));
        }

        Pending<double, Cuda> clip(double maximum, bool as_before = false) {
            if (!as_before) note_arrays();
            cuda::launch(cuda::square_sums<C>, chunks_.grid(), chunks_.device(), device_arrays(), sums());
            cuda::launch(cuda::finish_norm<cuda::finish_threads>, {1, cuda::finish_threads}, sums(),
                         chunks_.count(), maximum, static_cast<const LossScale*>(loss_scale_.data()),
                         clipped());
            is_clipped_ = true;
            return {clipped_, &clipped()->norm};
        }
        static bool must_skip() { return false; }
        Scale scale() const { return {is_clipped_ ? &clipped()->factor : nullptr}; }
        void begin_step(bool as_before) {
            if constexpr (has_loss_scale)
                if (!is_clipped_) clip(__builtin_huge_val(), as_before);
        }
        void end_step() {
            is_clipped_ = false;
            if constexpr (has_loss_scale)
                cuda::launch(cuda::update_loss_scale<LossScaling>, {1, 1}, clipped(), options_,
                             device_loss_scale());
        }

        void set(const LossScaling& options) {
            options_ = options;
            const LossScale begin{static_cast<float>(options.scale), 0};
            Memory<Cuda>::copy(&begin, 1, device_loss_scale());
        }
        Pending<float, Cuda> loss_scale() const { return {loss_scale_, &device_loss_scale()->scale}; }
        template <class G>
        Storage seed(double factor) const {
            Storage seed = allocated<G>(1);
            cuda::launch(cuda::scale_seed<G>, {1, 1}, device_loss_scale(), static_cast<float>(factor),
                         static_cast<G*>(seed.data()));
            return seed;
        }
        float* scale_data() { return &device_loss_scale()->scale; }
        std::int64_t* age_data() { return &device_loss_scale()->age; }

        /// Scales the gradients in place.
        void apply() {
            cuda::launch(cuda::scale_gradients<C>, chunks_.grid(), chunks_.device(), device_arrays(),
                         clipped());
        }

    private:
        template <class X>
        static Storage allocated(std::size_t count) {
            return Storage(Memory<Cuda>::allocate(count * sizeof(X)));
        }

        // Gradients keep their memory from step to step, so that this changes in a run's first steps only.
        void note_arrays() {
            bool changed = false;
            for (std::size_t i = 0; i < parameters_.size(); ++i) {
                const GradientSlot* slot = parameters_[i]->gradient.get();
                const cuda::GradientArray<C> now{
                    slot && slot->written ? static_cast<C*>(slot->storage.data()) : nullptr,
                    parameters_[i]->size()};
                if (arrays_[i] == now) continue;
                arrays_[i] = now;
                changed = true;
            }
            if (changed) upload();
        }
        void upload() {
            Memory<Cuda>::copy(arrays_.data(), static_cast<std::int64_t>(arrays_.size()),
                               static_cast<cuda::GradientArray<C>*>(device_arrays_.data()));
        }

        const cuda::GradientArray<C>* device_arrays() const {
            return static_cast<const cuda::GradientArray<C>*>(device_arrays_.data());
        }
        double* sums() const { return static_cast<double*>(sums_.data()); }
        cuda::Clipped* clipped() const { return static_cast<cuda::Clipped*>(clipped_.data()); }
        LossScale* device_loss_scale() const { return static_cast<LossScale*>(loss_scale_.data()); }

        std::vector<ParameterBase*> parameters_;
        std::vector<cuda::GradientArray<C>> arrays_;
        cuda::Chunks chunks_;
        Storage device_arrays_, sums_, clipped_, loss_scale_;
        LossScaling options_;
        bool is_clipped_ = false;
    };

    template <class C>
    static Pending<double, Cuda> norm(const std::vector<ParameterBase*>& parameters) {
        return Scaling<C, false>(parameters).clip(__builtin_huge_val());
    }

    template <class C>
    static Pending<double, Cuda> clip(const std::vector<ParameterBase*>& parameters, double maximum) {
        Scaling<C, false> scaling(parameters);
        const Pending<double, Cuda> before = scaling.clip(maximum);
        scaling.apply();
        return before;
    }
};

}  // namespace tenon
