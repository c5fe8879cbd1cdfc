#pragma once

#include <concepts>
#include <cstdint>

#include <tenon/autograd/tape.hpp>
#include <tenon/cuda/async_copy.cuh>
#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/op/cross_entropy/targets.hpp>

namespace tenon::cuda {

/// Rows of logits, and what is to become of them: the loss and the log sum exp of each, the gradient of the
/// mean loss, or all of it in one visit.
template <class T>
struct LossRows {
    using C = ComputeOf<T>;
    const T* logits;
    std::int64_t rows, vocabulary, stride;  // the stride of gradients too
    const std::int32_t* targets;            // -1: the position does not count
    CrossEntropyOptions options;
    C cap = 0;                      // logits are cap * tanh(given / cap), unless it is 0
    C* losses = nullptr;            // null: not wanted
    C* log_sum_exp = nullptr;       // written with the losses, read without them
    Contribution<T> gradient = {};  // where the logits are, or apart
    bool wants_gradient = false;
    const std::int64_t* counted = nullptr;  // null: the gradient of the sum of the losses
    const C* upstream = nullptr;            // null: 1
};

/// exp(x - shift), for 16-bit numbers by the GPU's own exponential, which errs by 2 units of float.
template <class T, class C>
struct ShiftedExponential {
    C shift;

    __device__ __forceinline__ C operator()(C x) const {
        if constexpr (is_half<T>) {
            constexpr float per_octave = 1.4426950408889634f;
            float result;
            asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(fmaf(x, per_octave, -shift * per_octave)));
            return result;
        } else if constexpr (std::same_as<C, float>) {
            return expf(x - shift);
        } else {
            return ::exp(x - shift);
        }
    }
};

/// Rows of logits by blocks, the last row first: a product has just written it. A row is read twice, for its
/// statistics and for its gradient, which may overwrite it: from shared memory where rows are staged there,
/// each while the block works on the one before; else from memory, and the second time from the second-level
/// cache. N: how many elements move at once, for rows aligned to that. Staged rows have no cap and no label
/// smoothing. The order of sums depends on the number of threads alone.
template <class T, int N, bool is_staged>
__global__ void __launch_bounds__(1024, 1) loss_rows(const __grid_constant__ LossRows<T> given) {
    using C = ComputeOf<T>;
    constexpr C infinity = static_cast<C>(__builtin_huge_val());
    extern __shared__ __align__(16) unsigned char stages[];
    __shared__ C scratch[warp_size];
    const int vocabulary = static_cast<int>(given.vocabulary), step = static_cast<int>(blockDim.x) * N;
    const int first = static_cast<int>(threadIdx.x) * N;
    const C cap = is_staged ? C(0) : given.cap, inverse_cap = cap == C(0) ? C(0) : C(1) / cap;
    const double smoothing = is_staged ? 0 : given.options.label_smoothing;

    // Threads stage what they read themselves, so that none waits for another.
    const auto stage = [&](std::int64_t row, int buffer) {
        const T* const from = given.logits + row * given.stride;
        T* const to = reinterpret_cast<T*>(stages) + buffer * given.stride;
        if (row >= 0)
            for (int at = first; at < vocabulary; at += step)
                copy_async(shared_address(to + at), from + at, true);
        commit_copies();
    };
    std::int64_t row = given.rows - 1 - static_cast<std::int64_t>(blockIdx.x);
    if constexpr (is_staged) stage(row, 0);
    for (int round = 0; row >= 0; row -= gridDim.x, ++round) {
        const T* logits = given.logits + row * given.stride;
        const int target = given.targets[row];
        C target_logit = target >= 0 ? convert<C>(logits[target]) : C(0);
        if constexpr (is_staged) {
            stage(row - gridDim.x, (round + 1) % 2);
            wait_copies<1>();
            logits = reinterpret_cast<const T*>(stages) + round % 2 * given.stride;
        }
        const auto read = [&](int at, C(&x)[N]) {
            load(logits + at, x);
            if (cap != C(0)) {
#pragma unroll
                for (int i = 0; i < N; ++i) x[i] = cap * ::tanh(x[i] * inverse_cap);
            }
            if (N > 1 && at + N > vocabulary) {  // the row's last elements are no logits
#pragma unroll
                for (int i = 0; i < N; ++i)
                    if (at + i >= vocabulary) x[i] = -infinity;
            }
        };

        C log_sum_exp = 0;
        if (given.losses && target >= 0) {
            C greatest = -infinity, sum = 0, total = 0;
#pragma unroll 2
            for (int at = first; at < vocabulary; at += step) {
                C x[N], most = greatest;
                read(at, x);
#pragma unroll
                for (int i = 0; i < N; ++i) most = most > x[i] ? most : x[i];
                const ShiftedExponential<T, C> exponential{most == -infinity ? C(0) : most};
                sum *= exponential(greatest);
                greatest = most;
#pragma unroll
                for (int i = 0; i < N; ++i) sum += exponential(x[i]);
                if (smoothing > 0) {
#pragma unroll
                    for (int i = 0; i < N; ++i)
                        if (at + i < vocabulary) total += x[i];
                }
            }
            const C maximum = reduce_block(greatest, Maximum(), scratch);
            sum *= ShiftedExponential<T, C>{maximum == -infinity ? C(0) : maximum}(greatest);
            log_sum_exp = maximum + ::log(reduce_block(sum, Sum(), scratch));
            if (smoothing > 0) total = reduce_block(total, Sum(), scratch);
            if (threadIdx.x == 0) {
                if (cap != C(0)) target_logit = cap * ::tanh(target_logit * inverse_cap);
                const double whole = static_cast<double>(log_sum_exp);
                given.losses[row] =
                    static_cast<C>(whole - (1 - smoothing) * static_cast<double>(target_logit) -
                                   smoothing / vocabulary * static_cast<double>(total) +
                                   given.options.z_loss * whole * whole);
                if (given.log_sum_exp) given.log_sum_exp[row] = log_sum_exp;
            }
        } else if (given.losses) {
            if (threadIdx.x == 0) given.losses[row] = 0;
        } else {
            log_sum_exp = given.log_sum_exp[row];
        }
        if (!given.wants_gradient || (target < 0 && given.gradient.accumulate)) continue;

        // (1 + 2 c L) softmax - s / vocabulary - (1 - s) at the target, over the number of positions that
        // count.
        C weight = 0, even = 0, at_target = 0;
        if (target >= 0) {
            double scale = given.upstream ? static_cast<double>(*given.upstream) : 1;
            if (given.counted) scale /= static_cast<double>(*given.counted);
            weight =
                static_cast<C>((1 + 2 * given.options.z_loss * static_cast<double>(log_sum_exp)) * scale);
            even = static_cast<C>(-smoothing / vocabulary * scale);
            at_target = static_cast<C>((1 - smoothing) * scale);
        }
        const ShiftedExponential<T, C> probability{log_sum_exp};
#pragma unroll 2
        for (int at = first; at < vocabulary; at += step) {
            C x[N];
            if (target >= 0) {
                read(at, x);
#pragma unroll
                for (int i = 0; i < N; ++i) {
                    C slope = is_staged ? weight * probability(x[i]) : weight * probability(x[i]) + even;
                    if (cap != C(0)) {
                        if (at + i == target) slope -= at_target;
                        slope -= slope * (x[i] * inverse_cap) * (x[i] * inverse_cap);
                    }
                    x[i] = slope;
                }
                if (cap == C(0) && static_cast<unsigned>(target - at) < static_cast<unsigned>(N)) {
#pragma unroll
                    for (int i = 0; i < N; ++i)
                        if (at + i == target) x[i] -= at_target;
                }
            } else {
#pragma unroll
                for (int i = 0; i < N; ++i) x[i] = 0;
            }
            contribute(given.gradient, row * given.stride + at, x);
        }
    }
}

/// Writes each target's number, or -1 for one to ignore, and how many count. One block. A target out of range
/// is reported, and ignored.
template <class Id>
__global__ void __launch_bounds__(1024)
    number_targets(const Id* targets, std::int64_t size, std::int64_t vocabulary, bool ignores,
                   std::int64_t ignored, std::int32_t* numbers, std::int64_t* counted, Fault* fault,
                   const char* expected) {
    __shared__ int scratch[warp_size];
    int own = 0;
    for (std::int64_t i = threadIdx.x; i < size; i += blockDim.x) {
        const auto target = static_cast<std::int64_t>(targets[i]);
        std::int32_t number = -1;
        if (!ignores || target != ignored) {
            if (static_cast<std::uint64_t>(target) < static_cast<std::uint64_t>(vocabulary))
                number = static_cast<std::int32_t>(target);
            else
                report_fault(fault, expected, vocabulary, target, i);
        }
        numbers[i] = number;
        own += number >= 0;
    }
    const int total = reduce_block(own, Sum(), scratch);
    if (threadIdx.x == 0) *counted = total;
}

/// The mean over the positions that count, the losses of others being 0. One block.
template <class C>
__global__ void __launch_bounds__(1024)
    mean_of_losses(const C* losses, std::int64_t size, const std::int64_t* counted, C* mean) {
    __shared__ double scratch[warp_size];
    double own = 0;
    for (std::int64_t i = threadIdx.x; i < size; i += blockDim.x) own += static_cast<double>(losses[i]);
    const double total = reduce_block(own, Sum(), scratch);
    if (threadIdx.x == 0) *mean = static_cast<C>(*counted > 0 ? total / static_cast<double>(*counted) : 0);
}

template <class C>
__global__ void inverse_of_count(const std::int64_t* counted, C* inverse) {
    *inverse = *counted > 0 ? C(1) / static_cast<C>(*counted) : C(0);
}

/// Contributes `scale` times `from`, which may be where that goes; in that case a scale of 1 leaves it
/// untouched.
template <class G>
__global__ void __launch_bounds__(256)
    add_scaled(Contribution<G> from, std::int64_t count, const ComputeOf<G>* scale, Contribution<G> to) {
    using C = ComputeOf<G>;
    constexpr int N = 16 / sizeof(C);
    const C factor = *scale;
    if (factor == C(1) && from.data == to.data && from.wide == to.wide) return;
    const auto add = [&](const auto* source) {
        const std::int64_t thread = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x;
        const std::int64_t packs = count / N, threads = std::int64_t{gridDim.x} * blockDim.x;
        for (std::int64_t pack = thread; pack < packs; pack += threads) {
            C values[N];
            load(source + pack * N, values);
#pragma unroll
            for (int i = 0; i < N; ++i) values[i] *= factor;
            contribute(to, pack * N, values);
        }
        if (packs * N + thread < count)
            contribute(to, packs * N + thread, factor * convert<C>(source[packs * N + thread]));
    };
    if constexpr (is_half<G>)
        if (from.wide) return add(from.wide);
    add(from.data);
}

}  // namespace tenon::cuda
