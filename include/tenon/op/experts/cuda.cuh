#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/op/experts/dispatch.hpp>
#include <tenon/op/experts/route.hpp>
#include <tenon/op/experts/rows.hpp>

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

/// The token of a warp; there may be none.
__device__ __forceinline__ std::int64_t warp_number() { return thread_number() / warp_size; }

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

/// Assignments that a warp counts and sorts, in order.
inline constexpr int sorted_assignments = 1024;

/// Calls body(assignment, expert, rank) for each of a warp's assignments, in its lane: the rank is among the
/// warp's assignments to the expert. `counts` [experts], of shared memory, becomes how many there are.
template <class Body>
__device__ __forceinline__ void rank_assignments(const DispatchProblem& problem, const std::int32_t* experts,
                                                 int* counts, const Body& body) {
    const int lane = static_cast<int>(threadIdx.x);
    for (int expert = lane; expert < problem.experts; expert += warp_size) counts[expert] = 0;
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * sorted_assignments;
    for (int at = 0; at < sorted_assignments; at += warp_size) {
        __syncwarp();
        const std::int64_t assignment = first + at + lane;
        const int given = assignment < problem.assignments ? experts[assignment] : -1;
        const bool is_valid = given >= 0 && given < problem.experts;
        const int expert = is_valid ? given : -1;
        const unsigned same = __match_any_sync(0xffffffffu, expert), before = same & ((1u << lane) - 1);
        const int rank = is_valid ? counts[expert] + __popc(before) : 0;
        __syncwarp();
        if (is_valid && before == 0) counts[expert] += __popc(same);
        if (assignment < problem.assignments) body(assignment, given, is_valid ? rank : -1);
    }
    __syncwarp();
}

/// Counts the assignments of each block to each expert: counts [experts, blocks].
template <class Problem>
__global__ void count_assignments(const Problem problem, const std::int32_t* experts, int* counts,
                                  Fault* fault, const char* expected) {
    extern __shared__ int own[];
    rank_assignments(problem, experts, own, [&](std::int64_t assignment, int expert, int rank) {
        if (rank < 0) report_fault(fault, expected, problem.experts, expert, assignment);
    });
    for (int expert = static_cast<int>(threadIdx.x); expert < problem.experts; expert += warp_size)
        counts[static_cast<std::int64_t>(expert) * gridDim.x + blockIdx.x] = own[expert];
}

/// A thread's number added to those of the block's threads before it. `total` becomes the sum of all.
__device__ __forceinline__ int sum_with_before(int value, int* scratch, int& total) {
    const int lane = static_cast<int>(threadIdx.x) % warp_size,
              warp = static_cast<int>(threadIdx.x) / warp_size,
              warps = static_cast<int>(blockDim.x) / warp_size;
    for (int distance = 1; distance < warp_size; distance *= 2) {
        const int lower = __shfl_up_sync(0xffffffffu, value, distance);
        if (lane >= distance) value += lower;
    }
    __syncthreads();  // an earlier call's readers are done
    if (lane == warp_size - 1) scratch[warp] = value;
    __syncthreads();
    total = 0;
    int before = 0;
    for (int i = 0; i < warps; ++i) {
        if (i < warp) before += scratch[i];
        total += scratch[i];
    }
    return value + before;
}

/// Each block's counts of an expert become the sums of those of the blocks before; the load is their sum.
template <class Problem>
__global__ void sum_counts(const Problem, int blocks, int* counts, std::int32_t* load) {
    __shared__ int scratch[warp_size];
    int* const own = counts + static_cast<std::int64_t>(blockIdx.x) * blocks;
    int sum = 0;
    for (int first = 0; first < blocks; first += static_cast<int>(blockDim.x)) {
        const int at = first + static_cast<int>(threadIdx.x), count = at < blocks ? own[at] : 0;
        int total;
        const int here = sum_with_before(count, scratch, total);
        if (at < blocks) own[at] = sum + here - count;
        sum += total;
    }
    if (threadIdx.x == 0) load[blockIdx.x] = sum;
}

/// Where the experts' groups begin; one block.
template <class Problem>
__global__ void place_groups(const Problem problem, const std::int32_t* load, std::int32_t* begins) {
    __shared__ int scratch[warp_size];
    int sum = 0;
    for (int first = 0; first < problem.experts; first += static_cast<int>(blockDim.x)) {
        const int at = first + static_cast<int>(threadIdx.x);
        const int rows = at < problem.experts ? problem.aligned(problem.kept(load[at])) : 0;
        int total;
        const int here = sum_with_before(rows, scratch, total);
        if (at < problem.experts) begins[at + 1] = sum + here;
        sum += total;
    }
    if (threadIdx.x == 0) begins[0] = 0;
}

template <class Problem>
__global__ void place_assignments(const Problem problem, const std::int32_t* experts, const int* counts,
                                  const std::int32_t* begins, std::int32_t* slots, std::int32_t* sources) {
    extern __shared__ int own[];
    rank_assignments(problem, experts, own, [&](std::int64_t assignment, int expert, int rank) {
        int slot = -1;
        if (rank >= 0) {
            rank += counts[static_cast<std::int64_t>(expert) * gridDim.x + blockIdx.x];
            if (problem.capacity == 0 || rank < problem.capacity) slot = begins[expert] + rank;
        }
        slots[assignment] = slot;
        if (slot >= 0) sources[slot] = static_cast<std::int32_t>(assignment);
    });
}

/// A block counts the experts of a sequence: whole numbers, whose sums no order of addition changes.
template <class C>
__global__ void count_chosen(const std::int32_t* chosen, std::int64_t each, int experts, C* counts) {
    extern __shared__ int own[];
    for (int i = static_cast<int>(threadIdx.x); i < experts; i += static_cast<int>(blockDim.x)) own[i] = 0;
    __syncthreads();
    for (std::int64_t i = threadIdx.x; i < each; i += blockDim.x) {
        const std::int32_t expert = chosen[blockIdx.x * each + i];
        if (expert >= 0 && expert < experts) atomicAdd(own + expert, 1);
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < experts; i += static_cast<int>(blockDim.x))
        counts[static_cast<std::int64_t>(blockIdx.x) * experts + i] = static_cast<C>(own[i]);
}

/// A thread for each N elements of a row; `packs` of them are a row's. Returns false past the last row.
template <int N>
__device__ __forceinline__ bool find_pack(const Divisor& packs, std::int64_t rows, std::int64_t& row,
                                          std::int64_t& column) {
    row = thread_number();
    column = packs.divide(row) * N;
    return row < rows;
}

template <int N, class T>
__global__ void gather_token_rows(const RowPlaces p, const Divisor packs, const T* x, T* y) {
    std::int64_t row, column;
    if (!find_pack<N>(packs, p.rows, row, column)) return;
    const std::int32_t source = p.sources[row];
    Pack<T, N> pack{};
    if (source >= 0)
        pack = *reinterpret_cast<const Pack<T, N>*>(x + source / p.experts_per_token * p.width + column);
    *reinterpret_cast<Pack<T, N>*>(y + row * p.width + column) = pack;
}

/// The sum of a token's rows, each times what `factor(assignment)` says.
template <int N, class C, class T, class Factor>
__device__ __forceinline__ void sum_token_rows(const RowPlaces& p, std::int64_t token, std::int64_t column,
                                               const T* x, C (&sums)[N], const Factor& factor) {
    for (int i = 0; i < p.experts_per_token; ++i) {
        const std::int64_t assignment = token * p.experts_per_token + i;
        const std::int32_t slot = p.slots[assignment];
        if (slot < 0) continue;
        C values[N];
        load(x + slot * p.width + column, values);
        const C weight = factor(assignment);
#pragma unroll
        for (int j = 0; j < N; ++j) sums[j] += weight * values[j];
    }
}

template <int N, class G>
__global__ void gather_gradient(const RowPlaces p, const Divisor packs, const G* upstream,
                                const Contribution<G> gradient) {
    using C = ComputeOf<G>;
    std::int64_t token, column;
    if (!find_pack<N>(packs, p.tokens, token, column)) return;
    C sums[N] = {};
    sum_token_rows(p, token, column, upstream, sums, [](std::int64_t) { return C(1); });
    contribute(gradient, token * p.width + column, sums);
}

template <int N, class T, class C>
__global__ void combine_token_rows(const RowPlaces p, const Divisor packs, const C* weights, const T* x,
                                   T* y) {
    std::int64_t token, column;
    if (!find_pack<N>(packs, p.tokens, token, column)) return;
    C sums[N] = {};
    sum_token_rows(p, token, column, x, sums, [&](std::int64_t assignment) { return weights[assignment]; });
    store(sums, y + token * p.width + column);
}

template <int N, class C, class G>
__global__ void combine_rows_gradient(const RowPlaces p, const Divisor packs, const C* weights,
                                      const G* upstream, const Contribution<G> gradient) {
    std::int64_t row, column;
    if (!find_pack<N>(packs, p.rows, row, column)) return;
    const std::int32_t source = p.sources[row];
    C values[N] = {};
    if (source >= 0) {
        load(upstream + source / p.experts_per_token * p.width + column, values);
#pragma unroll
        for (int j = 0; j < N; ++j) values[j] *= weights[source];
    } else if (gradient.accumulate) {
        return;
    }
    contribute(gradient, row * p.width + column, values);
}

/// A warp for each assignment.
template <int N, class T, class C, class G>
__global__ void combine_weights_gradient(const RowPlaces p, const T* x, const G* upstream,
                                         const Contribution<C> gradient) {
    const std::int64_t assignment = warp_number();
    if (assignment >= std::int64_t{p.tokens} * p.experts_per_token) return;
    const int lane = static_cast<int>(threadIdx.x) % warp_size;
    const std::int32_t slot = p.slots[assignment];
    C sum = 0;
    if (slot >= 0) {
        const T* const row = x + slot * p.width;
        const G* const token = upstream + assignment / p.experts_per_token * p.width;
        for (std::int64_t at = lane * N; at < p.width; at += warp_size * N) {
            C a[N], b[N];
            load(row + at, a);
            load(token + at, b);
#pragma unroll
            for (int j = 0; j < N; ++j) sum += a[j] * b[j];
        }
        sum = reduce_warp(sum, Sum());
    }
    if (lane == 0) contribute(gradient, assignment, sum);
}

/// A thread for each N elements; the last ones go one by one.
template <int N, class From, class To>
__global__ void widen_elements(const From* from, std::int64_t count, const Contribution<To> to) {
    using C = ComputeOf<To>;
    const std::int64_t first = thread_number() * N;
    if (first >= count) return;
    if (first + N <= count) {
        C values[N];
        load(from + first, values);
        contribute(to, first, values);
    } else {
        for (std::int64_t i = first; i < count; ++i) contribute(to, i, convert<C>(from[i]));
    }
}

/// Runs a kernel of packs of T for so many rows, in packs of 16 bytes if they fit.
template <class T, class Run>
void run_in_packs(bool fits, const RowPlaces& p, const Run& run) {
    constexpr int n = 16 / sizeof(T);
    if (fits && p.width % n == 0)
        run(std::integral_constant<int, n>());
    else
        run(std::integral_constant<int, 1>());
}

/// The launch of a thread for each pack of `each` elements of so many rows.
inline Grid pack_grid(std::int64_t rows, std::int64_t width, int each) {
    constexpr int threads = 256;
    return {blocks_for(rows * (width / each), threads, 0x7fffffff), threads};
}
/// The launch of a warp for each of so many.
inline Grid warp_grid(std::int64_t count) {
    constexpr int threads = 256;
    return {blocks_for(count, threads / warp_size, 0x7fffffff), threads};
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

/// A counting sort: blocks count, the counts are added up, and blocks place what they counted.
template <>
struct Kernel<Dispatch, Cuda> {
    static void run(const DispatchProblem& problem, const std::int32_t* experts, std::int32_t* begins,
                    std::int32_t* slots, std::int32_t* sources, std::int32_t* load) {
        using Problem = DispatchProblem;
        Memory<Cuda>::fill(sources, problem.rows, std::int32_t{-1});
        const unsigned blocks =
            std::max(1u, cuda::blocks_for(problem.assignments, cuda::sorted_assignments, 0x7fffffff));
        const Storage memory(Memory<Cuda>::allocate(std::size_t{blocks} *
                                                    static_cast<std::size_t>(problem.experts) * sizeof(int)));
        int* const counts = static_cast<int*>(memory.data());
        const cuda::Grid grid{blocks, cuda::warp_size,
                              static_cast<std::size_t>(problem.experts) * sizeof(int)};
        cuda::launch(cuda::count_assignments<Problem>, grid, problem, experts, counts, cuda::fault(),
                     "dispatch: expected experts below");
        cuda::launch(cuda::sum_counts<Problem>, {static_cast<unsigned>(problem.experts), 256}, problem,
                     static_cast<int>(blocks), counts, load);
        cuda::launch(cuda::place_groups<Problem>, {1, 1024}, problem, load, begins);
        cuda::launch(cuda::place_assignments<Problem>, grid, problem, experts, counts, begins, slots,
                     sources);
    }

    template <class C>
    static void count(const std::int32_t* chosen, int sequences, std::int64_t each, int experts, C* counts) {
        cuda::launch(cuda::count_chosen<C>,
                     {static_cast<unsigned>(sequences), 256, static_cast<std::size_t>(experts) * sizeof(int)},
                     chosen, each, experts, counts);
    }
};

template <>
struct Kernel<GatherRows, Cuda> {
    template <class T>
    static void forward(const RowPlaces& p, const T* x, T* y) {
        if (p.width == 0) return;
        constexpr int n = 16 / sizeof(T);
        cuda::run_in_packs<T>(cuda::is_aligned<n>(x) && cuda::is_aligned<n>(y), p, [&](auto each) {
            cuda::launch(cuda::gather_token_rows<each(), T>, cuda::pack_grid(p.rows, p.width, each()), p,
                         cuda::Divisor(p.width / each()), x, y);
        });
    }
    template <class G>
    static void backward(const RowPlaces& p, const G* upstream, const Contribution<G>& gradient) {
        if (p.width == 0) return;
        cuda::run_in_packs<G>(true, p, [&](auto each) {
            cuda::launch(cuda::gather_gradient<each(), G>, cuda::pack_grid(p.tokens, p.width, each()), p,
                         cuda::Divisor(p.width / each()), upstream, gradient);
        });
    }
};

template <>
struct Kernel<CombineRows, Cuda> {
    template <class T, class C>
    static void forward(const RowPlaces& p, const C* weights, const T* x, T* y) {
        if (p.width == 0) return;
        constexpr int n = 16 / sizeof(T);
        cuda::run_in_packs<T>(cuda::is_aligned<n>(x) && cuda::is_aligned<n>(y), p, [&](auto each) {
            cuda::launch(cuda::combine_token_rows<each(), T, C>, cuda::pack_grid(p.tokens, p.width, each()),
                         p, cuda::Divisor(p.width / each()), weights, x, y);
        });
    }
    template <class C, class G>
    static void gradient_rows(const RowPlaces& p, const C* weights, const G* upstream,
                              const Contribution<G>& gradient) {
        if (p.width == 0) return;
        cuda::run_in_packs<G>(true, p, [&](auto each) {
            cuda::launch(cuda::combine_rows_gradient<each(), C, G>, cuda::pack_grid(p.rows, p.width, each()),
                         p, cuda::Divisor(p.width / each()), weights, upstream, gradient);
        });
    }
    template <class T, class C, class G>
    static void gradient_weights(const RowPlaces& p, const T* x, const G* upstream,
                                 const Contribution<C>& gradient) {
        constexpr int n = 16 / sizeof(T);
        cuda::run_in_packs<T>(cuda::is_aligned<n>(x), p, [&](auto each) {
            cuda::launch(cuda::combine_weights_gradient<each(), T, C, G>,
                         cuda::warp_grid(std::int64_t{p.tokens} * p.experts_per_token), p, x, upstream,
                         gradient);
        });
    }
};

template <>
struct Kernel<Widen, Cuda> {
    template <class From, class To>
    static void run(const From* from, std::int64_t count, const Contribution<To>& to) {
        constexpr int threads = 256;
        const auto launch = [&](auto* widen, int each) {
            cuda::launch(widen, {cuda::blocks_for(count, std::int64_t{each} * threads, 0x7fffffff), threads},
                         from, count, to);
        };
        constexpr int n = 4;
        if (cuda::is_aligned<n>(from) && cuda::is_aligned<n>(to.data) &&
            (is_half<To> || cuda::is_aligned<n>(to.wide)))
            launch(cuda::widen_elements<n, From, To>, n);
        else
            launch(cuda::widen_elements<1, From, To>, 1);
    }
};

}  // namespace tenon
