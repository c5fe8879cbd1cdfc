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

    /// From hidden states [..., width] and head [vocabulary, width]: chunks of positions. The gradient of a
    /// chunk's logits overwrites them, and gives its part to both gradients (of no memory: not wanted; Hsu et
    /// al. 2024, "Liger Kernel").
    template <class T, class C, class Options>
    static void forward(const ArrayView<T>& hidden, const ArrayView<T>& head, const Options& logits_options,
                        const detail::CheckedTargets& targets, const CrossEntropyOptions& options, C* losses,
                        const Contribution<T>& to_hidden, const Contribution<T>& to_head) {
        const std::int64_t vocabulary = head.extents[0], width = head.extents[1];
        const std::int64_t stride = (vocabulary + 7) / 8 * 8;  // rows that are aligned, for any vocabulary
        const std::int64_t chunk = chunk_rows(targets.size, stride * static_cast<std::int64_t>(sizeof(T)));
        C scale = 1, cap = 0;
        if constexpr (!std::same_as<Options, PlainLogits>) {
            scale = static_cast<C>(logits_options.scale);
            cap = static_cast<C>(logits_options.soft_cap);
        }

        const Storage memory(Memory<Cuda>::allocate(static_cast<std::size_t>(chunk * stride) * sizeof(T)));
        T* const logits = static_cast<T*>(memory.data());
        // The head's gradient gathers from chunk to chunk, which 16 bits are too few for.
        Contribution<T> head_sum = to_head;
        Storage head_memory;
        const std::int64_t head_size = vocabulary * width;
        if (is_half<T> && to_head.data && chunk < targets.size) {
            head_memory = Storage(Memory<Cuda>::allocate(static_cast<std::size_t>(head_size) * sizeof(C)));
            head_sum = wide_part<T>(head_memory);
        }

        constexpr bool may_fuse = std::same_as<T, bf16>;
        using Fused = cuda::HeadExponentials<T>;
        std::optional<Fused> fused;
        Storage scaled_memory;
        const bool wants_gradient = has_memory(to_hidden) || has_memory(to_head);
        if constexpr (may_fuse) {
            if (scale == C(1) && cap == C(0) && !to_hidden.accumulate &&
                Fused::fits(hidden.data, targets.size, head.data, vocabulary, width, options)) {
                fused.emplace(head.data, vocabulary, width, chunk);
                if (has_memory(to_head) && !has_memory(to_hidden))
                    scaled_memory =
                        Storage(Memory<Cuda>::allocate(static_cast<std::size_t>(chunk * width) * sizeof(T)));
            }
        }

        for (std::int64_t begin = 0; begin < targets.size; begin += chunk) {
            const std::int64_t count = std::min(chunk, targets.size - begin);
            const T* states = hidden.data + begin * width;
            Contribution<T> hidden_sum = behind(to_hidden, begin * width);
            if constexpr (may_fuse) {
                if (fused) {
                    // Where the hidden states' gradient is going to be there is room for them.
                    T* scaled = nullptr;
                    if (has_memory(to_head))
                        scaled = scaled_memory     ? static_cast<T*>(scaled_memory.data())
                                 : hidden_sum.data ? hidden_sum.data
                                                   : reinterpret_cast<T*>(hidden_sum.wide);
                    fused->run(states, targets.numbers() + begin, targets.counted(), count, losses + begin,
                               wants_gradient ? logits : nullptr, scaled);
                    states = scaled;
                }
            }
            if (!fused) {
                for_each_part(vocabulary, [&](std::int64_t first, std::int64_t columns) {
                    cuda::multiply<T>({{1, count, columns, width, width, 1, 0, 1, width, 0},
                                       states,
                                       head.data + first * width,
                                       {logits + first},
                                       stride,
                                       1,
                                       0,
                                       scale});
                });
                cuda::LossRows<T> rows{logits,  count, vocabulary, stride, targets.numbers() + begin,
                                       options, cap};
                rows.losses = losses + begin;
                rows.wants_gradient = wants_gradient;
                rows.gradient = {logits};
                if (!std::same_as<T, f16>) rows.counted = targets.counted();
                launch(rows);
            }
            if (has_memory(to_head)) {
                head_sum.accumulate = begin > 0;
                for_each_part(vocabulary, [&](std::int64_t first, std::int64_t columns) {
                    cuda::multiply<T>({{1, columns, width, count, 1, stride, 0, width, 1, 0},
                                       logits + first,
                                       states,
                                       behind(head_sum, first * width),
                                       width,
                                       1,
                                       0,
                                       scale});
                });
            }
            if (!has_memory(to_hidden)) continue;
            for_each_part(vocabulary, [&](std::int64_t first, std::int64_t columns) {
                cuda::multiply<T>({{1, count, width, columns, stride, 1, 0, width, 1, 0},
                                   logits + first,
                                   head.data + first * width,
                                   hidden_sum,
                                   width,
                                   1,
                                   0,
                                   scale});
                hidden_sum.accumulate = true;
            });
            if constexpr (may_fuse) {
                if (fused && hidden_sum.wide)
                    fused->scale(hidden_sum.wide, count);
                else if (fused)
                    fused->scale(hidden_sum.data, count);
            }
        }
        if (head_memory)
            Kernel<Accumulate, Cuda>::run(static_cast<const C*>(head_memory.data()), head_size, to_head.data,
                                          false);
        if constexpr (std::same_as<T, f16>) {  // the sum's gradient fits 16 bits where the mean's would not
            const Storage inverse(Memory<Cuda>::allocate(sizeof(C)));
            auto* const factor = static_cast<C*>(inverse.data());
            cuda::launch(cuda::inverse_of_count<C>, {1, 1}, targets.counted(), factor);
            if (has_memory(to_hidden)) add_scaled(to_hidden, targets.size * width, factor, to_hidden);
            if (has_memory(to_head)) add_scaled(to_head, head_size, factor, to_head);
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
    /// Calls part(first, count) for the vocabulary up to a multiple of 8, and for its last words: cuBLASLt is
    /// several times slower with other extents, however rows are aligned.
    template <class Part>
    static void for_each_part(std::int64_t vocabulary, Part&& part) {
        const std::int64_t even = vocabulary / 8 * 8;
        if (even > 0) part(std::int64_t{0}, even);
        if (even < vocabulary) part(even, vocabulary - even);
    }
    template <class T>
    static bool has_memory(const Contribution<T>& contribution) {
        return contribution.data || contribution.wide;
    }
    template <class T>
    static Contribution<T> behind(Contribution<T> to, std::int64_t count) {
        if (to.data) to.data += count;
        if (to.wide) to.wide += count;
        return to;
    }
    template <class T>
    static Contribution<T> wide_part(const Storage& memory) {
        return {nullptr, false, static_cast<ComputeOf<T>*>(memory.data())};
    }

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
