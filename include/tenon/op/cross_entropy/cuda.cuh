#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <tenon/autograd/cuda.cuh>
#include <tenon/cuda/device.hpp>
#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#include <tenon/op/cross_entropy/head.cuh>
#include <tenon/op/cross_entropy/row.cuh>
#include <tenon/op/matmul/cuda.cuh>

namespace tenon {

/// Nothing here waits for the device: counts and upstream gradients are read from its memory.
template <>
struct Kernel<CrossEntropy, Cuda> {
    /// Writes each target's number, or -1 for one to ignore, and how many count.
    template <class Id>
    static void check_targets(const Id* targets, std::int64_t vocabulary,
                              const std::optional<std::int64_t>& ignore,
                              const detail::CheckedTargets& checked) {
        cuda::launch(cuda::number_targets<Id>, {1, 1024}, targets, checked.size, vocabulary,
                     ignore.has_value(), ignore.value_or(0), checked.numbers(), checked.counted(),
                     cuda::fault(), "cross_entropy: expected targets below");
    }

    /// From logits as a tensor. Null log_sum_exp: not wanted.
    template <class T, class C>
    static void forward(const ArrayView<T>& logits, const detail::CheckedTargets& targets,
                        const CrossEntropyOptions& options, C* losses, C* log_sum_exp) {
        cuda::LossRows<T> rows = rows_of(logits, targets, options);
        rows.losses = losses;
        rows.log_sum_exp = log_sum_exp;
        launch(rows);
    }

    template <class T, class C>
    static void backward(const ArrayView<T>& logits, const detail::CheckedTargets& targets,
                         const CrossEntropyOptions& options, const C* log_sum_exp, const C* upstream,
                         const Contribution<T>& gradient) {
        cuda::LossRows<T> rows = rows_of(logits, targets, options);
        rows.log_sum_exp = const_cast<C*>(log_sum_exp);
        rows.gradient = gradient;
        rows.wants_gradient = true;
        rows.counted = targets.counted();
        rows.upstream = upstream;
        launch(rows);
    }

    /// From hidden states and head, and an addend's (null: none): chunks of positions. The gradient of a
    /// chunk's logits overwrites them, and gives its part to all gradients (Hsu et al. 2024, "Liger Kernel").
    template <class T, class C, class Options>
    static void forward(const LogitsFactors<T, T, T>& product, const LogitsFactors<T, T, T>* addend,
                        const Options& logits_options, const detail::CheckedTargets& targets,
                        const CrossEntropyOptions& options, C* losses) {
        const std::int64_t vocabulary = product.head.extents[0], width = product.width();
        const std::int64_t stride = (vocabulary + 7) / 8 * 8;  // rows that are aligned, for any vocabulary
        const std::int64_t chunk = chunk_rows(targets.size, stride * static_cast<std::int64_t>(sizeof(T)));
        C scale = 1, cap = 0;
        if constexpr (!std::same_as<Options, PlainLogits>) {
            scale = static_cast<C>(logits_options.scale);
            cap = static_cast<C>(logits_options.soft_cap);
        }

        const Storage memory(Memory<Cuda>::allocate(static_cast<std::size_t>(chunk * stride) * sizeof(T)));
        T* const logits = static_cast<T*>(memory.data());
        Part<T> parts[2] = {Part<T>(product, targets.size, chunk)};
        const int count_of_parts = addend ? 2 : 1;
        if (addend) parts[1] = Part<T>(*addend, targets.size, chunk);
        const bool wants_gradient = product.wants_gradients() || (addend && addend->wants_gradients());

        constexpr bool may_fuse = std::same_as<T, bf16>;
        using Fused = cuda::HeadExponentials<T>;
        std::optional<Fused> fused;
        Storage scaled_memory;
        const Contribution<T>&to_hidden = product.to_hidden, &to_head = product.to_head;
        if constexpr (may_fuse) {
            if (scale == C(1) && cap == C(0) && !addend && !to_hidden.accumulate &&
                Fused::fits(product.hidden.data, targets.size, product.head.data, vocabulary, width,
                            options)) {
                fused.emplace(product.head.data, vocabulary, width, chunk);
                if (to_head.has_memory() && !to_hidden.has_memory())
                    scaled_memory =
                        Storage(Memory<Cuda>::allocate(static_cast<std::size_t>(chunk * width) * sizeof(T)));
            }
        }

        for (std::int64_t begin = 0; begin < targets.size; begin += chunk) {
            const std::int64_t count = std::min(chunk, targets.size - begin);
            for (int i = 0; i < count_of_parts; ++i) parts[i].begin_chunk(begin);
            if constexpr (may_fuse) {
                if (fused) {
                    // Where the hidden states' gradient is going to be there is room for them.
                    const Contribution<T>& hidden_sum = parts[0].hidden_sum;
                    T* scaled = nullptr;
                    if (to_head.has_memory())
                        scaled = scaled_memory     ? static_cast<T*>(scaled_memory.data())
                                 : hidden_sum.data ? hidden_sum.data
                                                   : reinterpret_cast<T*>(hidden_sum.wide);
                    fused->run(parts[0].states, targets.numbers() + begin, targets.counted(), count,
                               losses + begin, wants_gradient ? logits : nullptr, scaled);
                    parts[0].states = scaled;
                }
            }
            if (!fused) {
                for (int i = 0; i < count_of_parts; ++i)
                    parts[i].multiply(count, logits, stride, scale, i > 0);
                cuda::LossRows<T> rows{logits,  count, vocabulary, stride, targets.numbers() + begin,
                                       options, cap};
                rows.losses = losses + begin;
                rows.wants_gradient = wants_gradient;
                rows.gradient = {logits};
                if (!std::same_as<T, f16>) rows.counted = targets.counted();
                launch(rows);
            }
            for (int i = 0; i < count_of_parts; ++i) parts[i].gather(begin, count, logits, stride, scale);
            if constexpr (may_fuse) {
                const Contribution<T>& hidden_sum = parts[0].hidden_sum;
                if (fused && hidden_sum.wide)
                    fused->scale(hidden_sum.wide, count);
                else if (fused && hidden_sum.data)
                    fused->scale(hidden_sum.data, count);
            }
        }
        for (int i = 0; i < count_of_parts; ++i) parts[i].finish();
        if constexpr (std::same_as<T, f16>) {  // the sum's gradient fits 16 bits where the mean's would not
            const Storage inverse(Memory<Cuda>::allocate(sizeof(C)));
            auto* const factor = static_cast<C*>(inverse.data());
            cuda::launch(cuda::inverse_of_count<C>, {1, 1}, targets.counted(), factor);
            for (int i = 0; i < count_of_parts; ++i) parts[i].scale_gradients(targets.size, factor);
        }
    }

    /// The mean over the positions that count; the losses of others are 0.
    template <class C>
    static void mean(const C* losses, const detail::CheckedTargets& targets, C* mean) {
        cuda::launch(cuda::mean_of_losses<C>, {1, 1024}, losses, targets.size, targets.counted(), mean);
    }

    /// Contributes `scale` times `from`, which may be where that goes.
    template <class G>
    static void add_scaled(const Contribution<G>& from, std::int64_t count, const ComputeOf<G>* scale,
                           const Contribution<G>& to) {
        cuda::launch(cuda::add_scaled<G>, {cuda::blocks_for(count, 1024, 2048), 256}, from, count, scale, to);
    }

    /// How many positions' logits are in memory at once, where each takes so many bytes: chunks of equal
    /// size, a multiple of the tiles of matrix products.
    static std::int64_t chunk_rows(std::int64_t positions, std::int64_t bytes) {
        const std::int64_t most =
            std::max<std::int64_t>(128, CrossEntropy::gpu_chunk_bytes / bytes / 128 * 128);
        const std::int64_t chunks = (positions + most - 1) / most;
        return std::min(positions, ((positions + chunks - 1) / chunks + 127) / 128 * 128);
    }

private:
    template <class T>
    static Contribution<T> behind(Contribution<T> to, std::int64_t count) {
        if (to.data) to.data += count;
        if (to.wide) to.wide += count;
        return to;
    }

    /// One of the products that logits are the sum of, in chunks of positions.
    template <class T>
    class Part {
        using C = ComputeOf<T>;

    public:
        Part() = default;
        Part(const LogitsFactors<T, T, T>& factors, std::int64_t positions, std::int64_t chunk)
            : factors_(factors), head_sum_(factors.to_head) {
            // The head's gradient gathers from chunk to chunk, which 16 bits are too few for.
            if (!is_half<T> || !head_sum_.data || chunk >= positions) return;
            head_memory_ = Storage(Memory<Cuda>::allocate(static_cast<std::size_t>(head_size()) * sizeof(C)));
            head_sum_ = {nullptr, false, static_cast<C*>(head_memory_.data())};
        }

        void begin_chunk(std::int64_t begin) {
            states = factors_.hidden.data + begin * factors_.width();
            hidden_sum = behind(factors_.to_hidden, begin * factors_.width());
        }

        /// logits [count, vocabulary], whose rows are `stride` apart.
        void multiply(std::int64_t count, T* logits, std::int64_t stride, C scale, bool accumulate) const {
            const std::int64_t width = factors_.width();
            for_each_part([&](std::int64_t first, std::int64_t columns) {
                cuda::multiply<T>({{1, count, columns, width, width, 1, 0, 1, width, 0},
                                   states,
                                   factors_.head.data + first * width,
                                   {logits + first, accumulate},
                                   stride,
                                   1,
                                   0,
                                   scale});
            });
        }

        /// Adds what a chunk gives to the gradients, whose logits' gradient this is.
        void gather(std::int64_t begin, std::int64_t count, const T* logits, std::int64_t stride, C scale) {
            const std::int64_t width = factors_.width();
            if (head_sum_.has_memory()) {
                head_sum_.accumulate = begin > 0;
                for_each_part([&](std::int64_t first, std::int64_t columns) {
                    cuda::multiply<T>({{1, columns, width, count, 1, stride, 0, width, 1, 0},
                                       logits + first,
                                       states,
                                       behind(head_sum_, first * width),
                                       width,
                                       1,
                                       0,
                                       scale});
                });
            }
            if (!hidden_sum.has_memory()) return;
            for_each_part([&](std::int64_t first, std::int64_t columns) {
                cuda::multiply<T>({{1, count, width, columns, stride, 1, 0, width, 1, 0},
                                   logits + first,
                                   factors_.head.data + first * width,
                                   hidden_sum,
                                   width,
                                   1,
                                   0,
                                   scale});
                hidden_sum.accumulate = true;
            });
        }

        void finish() const {
            if (head_memory_)
                Kernel<Accumulate, Cuda>::run(static_cast<const C*>(head_memory_.data()), head_size(),
                                              factors_.to_head.data, false);
        }

        void scale_gradients(std::int64_t positions, const C* factor) const {
            const Contribution<T>&to_hidden = factors_.to_hidden, &to_head = factors_.to_head;
            if (to_hidden.has_memory())
                add_scaled(to_hidden, positions * factors_.width(), factor, to_hidden);
            if (to_head.has_memory()) add_scaled(to_head, head_size(), factor, to_head);
        }

        const T* states = nullptr;   ///< of the chunk
        Contribution<T> hidden_sum;  ///< their gradient

    private:
        std::int64_t head_size() const { return factors_.head.extents.count(); }

        /// Calls part(first, count) for the vocabulary up to a multiple of 8, and for its last words:
        /// cuBLASLt is several times slower with other extents, however rows are aligned.
        template <class F>
        void for_each_part(F&& part) const {
            const std::int64_t vocabulary = factors_.head.extents[0], even = vocabulary / 8 * 8;
            if (even > 0) part(std::int64_t{0}, even);
            if (even < vocabulary) part(even, vocabulary - even);
        }

        LogitsFactors<T, T, T> factors_ = {};
        Contribution<T> head_sum_;
        Storage head_memory_;
    };

    template <class T>
    static cuda::LossRows<T> rows_of(const ArrayView<T>& logits, const detail::CheckedTargets& targets,
                                     const CrossEntropyOptions& options) {
        const std::int64_t vocabulary = logits.extents[logits.extents.rank - 1];
        return {logits.data, targets.size, vocabulary, vocabulary, targets.numbers(), options};
    }

    template <class T>
    static void launch(const cuda::LossRows<T>& rows) {
        constexpr int N = 16 / sizeof(T);
        const bool is_aligned = rows.stride % N == 0 && cuda::is_aligned<N>(rows.logits) &&
                                (!rows.gradient.data || cuda::is_aligned<N>(rows.gradient.data)) &&
                                (!rows.gradient.wide || cuda::is_aligned<N>(rows.gradient.wide));
        const std::int64_t packs = (rows.vocabulary + (is_aligned ? N : 1) - 1) / (is_aligned ? N : 1);
        const std::int64_t stages = 2 * rows.stride * static_cast<std::int64_t>(sizeof(T));
        const bool may_stage = is_aligned && rows.cap == 0 && rows.options.label_smoothing == 0 &&
                               stages <= (std::int64_t{226} << 10);
        // As many threads as extents and options say, so that every card adds in the same order.
        const std::int64_t warps = std::clamp<std::int64_t>((packs + 127) / 128, 4, may_stage ? 32 : 16);
        const auto threads = static_cast<unsigned>(warps) * static_cast<unsigned>(cuda::warp_size);
        const cuda::DeviceProperties& device = cuda::device_properties();
        if (!may_stage || stages > device.shared_bytes - 512)
            return cuda::launch(is_aligned ? cuda::loss_rows<T, N, false> : cuda::loss_rows<T, 1, false>,
                                {static_cast<unsigned>(rows.rows), threads}, rows);
        const std::int64_t fit =
            std::min(device.shared_bytes / (stages + 1536), 1536 / std::int64_t{threads});
        cuda::launch(cuda::loss_rows<T, N, true>,
                     {cuda::blocks_for(rows.rows, 1, device.multiprocessors * std::max<std::int64_t>(fit, 1)),
                      threads, static_cast<std::size_t>(stages)},
                     rows);
    }
};

}  // namespace tenon
