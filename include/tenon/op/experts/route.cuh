#pragma once

#include <cstdint>

#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/op/experts/route.hpp>
#include <tenon/op/experts/warps.cuh>

namespace tenon {
namespace cuda {

/// The best of the candidates of a warp's lanes, for all of them.
template <class C>
__device__ __forceinline__ Candidate<C> best_of_warp(Candidate<C> best) {
#pragma unroll
    for (int distance = warp_size / 2; distance > 0; distance /= 2) {
        Candidate<C> other;
        other.key = __shfl_xor_sync(0xffffffffu, best.key, distance);
        other.id = __shfl_xor_sync(0xffffffffu, best.id, distance);
        if (other.is_better_than(best)) best = other;
    }
    return best;
}

/// A warp chooses the experts of a token: a lane looks at each 32nd, and remembers by bits of `taken` which
/// of its own are chosen.
template <class T>
class WarpChoice {
public:
    __device__ WarpChoice(const RouteProblem& problem, const T* scores, const T* bias)
        : problem_(problem), scores_(scores), bias_(bias) {
        if (problem.options.chosen_groups < problem.options.groups) choose_groups();
    }

    /// The next best expert.
    __device__ int next() {
        Candidate<T> best;
        std::uint64_t bit = 1;
        for (int expert = lane(); expert < problem_.experts; expert += warp_size, bit *= 2) {
            if (taken_ & bit) continue;
            if (!(groups_ >> expert / problem_.group_size() & 1)) continue;
            const Candidate<T> now = candidate(expert);
            if (now.is_better_than(best)) best = now;
        }
        best = best_of_warp(best);
        if (best.id % warp_size == lane()) taken_ |= std::uint64_t{1} << best.id / warp_size;
        return best.id;
    }

private:
    __device__ static int lane() { return static_cast<int>(threadIdx.x) % warp_size; }

    __device__ Candidate<T> candidate(int expert) const {
        return {scores_[expert] + (bias_ ? bias_[expert] : T(0)), expert};
    }

    /// Keeps the best groups; a lane remembers the score of one group.
    __device__ void choose_groups() {
        const int size = problem_.group_size();
        const bool adds = problem_.options.group_score == GroupScore::sum_of_best_two && size > 1;
        Candidate<T> own;
        for (int group = 0; group < problem_.options.groups; ++group) {
            Candidate<T> first, second;
            for (int expert = group * size + lane(); expert < (group + 1) * size; expert += warp_size) {
                const Candidate<T> now = candidate(expert);
                if (now.is_better_than(first)) {
                    second = first;
                    first = now;
                } else if (now.is_better_than(second)) {
                    second = now;
                }
            }
            const Candidate<T> best = best_of_warp(first);
            T score = best.key;
            if (adds) score += best_of_warp(best.id == first.id ? second : first).key;
            if (group == lane()) own = Candidate<T>(score, group);
        }
        groups_ = 0;
        for (int i = 0; i < problem_.options.chosen_groups; ++i) {
            const int best = best_of_warp(own).id;
            groups_ |= 1u << best;
            if (best == lane()) own = Candidate<T>();
        }
    }

    const RouteProblem& problem_;
    const T *scores_, *bias_;
    std::uint64_t taken_ = 0;
    std::uint32_t groups_ = 0xffffffffu;
};

template <class T>
__global__ void route_tokens(const RouteProblem problem, const T* scores, const T* bias,
                             std::int32_t* experts, T* weights) {
    const std::int64_t token = warp_number();
    if (token >= problem.tokens) return;
    const int lane = static_cast<int>(threadIdx.x) % warp_size, k = problem.options.experts_per_token;
    const T* const row = scores + token * problem.experts;
    WarpChoice<T> choice(problem, row, bias);
    T sum = 0;
    for (int i = 0; i < k; ++i) {
        const int expert = choice.next();
        sum += row[expert];
        if (lane == 0) experts[token * k + i] = expert;
    }
    __syncwarp();
    const T factor =
        static_cast<T>(problem.options.scale) / (problem.options.normalized ? route_divisor(sum) : T(1));
    for (int i = lane; i < k; i += warp_size) weights[token * k + i] = factor * row[experts[token * k + i]];
}

template <class T>
__global__ void route_gradient(const RouteProblem problem, const T* scores, const std::int32_t* experts,
                               const T* upstream, const Contribution<T> gradient) {
    const std::int64_t token = warp_number();
    if (token >= problem.tokens) return;
    const int lane = static_cast<int>(threadIdx.x) % warp_size, k = problem.options.experts_per_token;
    const T* const row = scores + token * problem.experts;
    experts += token * k;
    upstream += token * k;
    T sum = 0, weighed = 0;
    for (int i = 0; i < k; ++i) {
        sum += row[experts[i]];
        weighed += upstream[i] * row[experts[i]];
    }
    const bool normalized = problem.options.normalized;
    const T divisor = normalized ? route_divisor(sum) : T(1), mean = normalized ? weighed / divisor : T(0),
            scale = static_cast<T>(problem.options.scale);
    for (int expert = lane; expert < problem.experts; expert += warp_size) {
        int place = -1;
        for (int i = 0; i < k; ++i)
            if (experts[i] == expert) place = i;
        if (place < 0 && gradient.accumulate) continue;
        contribute(gradient, token * problem.experts + expert,
                   place < 0 ? T(0) : scale * (upstream[place] - mean) / divisor);
    }
}

}  // namespace cuda

template <>
struct Kernel<Route, Cuda> {
    template <class T>
    static void forward(const RouteProblem& problem, const T* scores, const T* bias, std::int32_t* experts,
                        T* weights) {
        cuda::launch(cuda::route_tokens<T>, cuda::warp_grid(problem.tokens), problem, scores, bias, experts,
                     weights);
    }
    template <class T>
    static void backward(const RouteProblem& problem, const T* scores, const std::int32_t* experts,
                         const T* upstream, const Contribution<T>& gradient) {
        cuda::launch(cuda::route_gradient<T>, cuda::warp_grid(problem.tokens), problem, scores, experts,
                     upstream, gradient);
    }
};

}  // namespace tenon
