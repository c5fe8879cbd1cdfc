#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/transfer.hpp>
#include <tenon/op/experts/dispatch.hpp>
#include <tenon/op/experts/route.hpp>
#include <tenon/op/experts/rows.hpp>

namespace tenon {
namespace kernel {

/// to[i] (+)= value(i, x), for packets and then for single numbers, whose type x has.
template <class C, class T, class Value>
void write_each(std::int64_t length, T* to, bool accumulate, const Value& value) {
    using V = Packet<C>;
    std::int64_t at = 0;
    for (; at + V::size <= length; at += V::size) {
        const V now = value(at, V());
        store_as(accumulate ? load_as<V>(to + at) + now : now, to + at);
    }
    for (; at < length; ++at) {
        const C now = value(at, C());
        store_as(accumulate ? load_as<C>(to + at) + now : now, to + at);
    }
}

/// So many rows of a width are one thread's at least.
inline std::int64_t rows_of_a_task(std::int64_t width) { return 1 + 16384 / (width + 1); }

}  // namespace kernel

template <>
struct Kernel<Route, Cpu> {
    /// experts and weights [tokens, k] are overwritten. `bias` may be null.
    template <class T>
    static void forward(const RouteProblem& problem, const T* scores, const T* bias, std::int32_t* experts,
                        T* weights) {
        const RouteOptions& options = problem.options;
        const int k = options.experts_per_token;
        parallel_for(problem.tokens, kernel::rows_of_a_task(std::int64_t{problem.experts} * k),
                     [&](std::int64_t first, std::int64_t last) {
                         std::vector<Candidate<T>> keys(static_cast<std::size_t>(problem.experts));
                         for (std::int64_t token = first; token < last; ++token) {
                             const T* const row = scores + token * problem.experts;
                             for (int i = 0; i < problem.experts; ++i)
                                 keys[static_cast<std::size_t>(i)] = {row[i] + (bias ? bias[i] : T(0)), i};
                             if (options.chosen_groups < options.groups) keep_best_groups(problem, keys);
                             std::partial_sort(keys.begin(), keys.begin() + k, keys.end(), is_better<T>);
                             T sum = 0;
                             for (int i = 0; i < k; ++i) {
                                 const int expert = keys[static_cast<std::size_t>(i)].id;
                                 experts[token * k + i] = expert;
                                 sum += row[expert];
                             }
                             const T factor = static_cast<T>(options.scale) /
                                              (options.normalized ? route_divisor(sum) : T(1));
                             for (int i = 0; i < k; ++i)
                                 weights[token * k + i] = factor * row[experts[token * k + i]];
                             keys.resize(static_cast<std::size_t>(problem.experts));
                         }
                     });
    }

    /// The gradient of the scores: of those that were not chosen it is zero.
    template <class T>
    static void backward(const RouteProblem& problem, const T* scores, const std::int32_t* experts,
                         const T* upstream, const Contribution<T>& gradient) {
        const RouteOptions& options = problem.options;
        const int k = options.experts_per_token;
        const T scale = static_cast<T>(options.scale);
        parallel_for(problem.tokens, kernel::rows_of_a_task(problem.experts),
                     [&](std::int64_t first, std::int64_t last) {
                         for (std::int64_t token = first; token < last; ++token) {
                             const T* const row = scores + token * problem.experts;
                             T* const to = gradient.data + token * problem.experts;
                             if (!gradient.accumulate) std::fill_n(to, problem.experts, T(0));
                             T sum = 0, weighed = 0;
                             for (std::int64_t i = token * k; i < (token + 1) * k; ++i) {
                                 sum += row[experts[i]];
                                 weighed += upstream[i] * row[experts[i]];
                             }
                             const T divisor = options.normalized ? route_divisor(sum) : T(1),
                                     mean = options.normalized ? weighed / divisor : T(0);
                             for (std::int64_t i = token * k; i < (token + 1) * k; ++i)
                                 to[experts[i]] += scale * (upstream[i] - mean) / divisor;
                         }
                     });
    }

private:
    template <class T>
    static bool is_better(const Candidate<T>& a, const Candidate<T>& b) {
        return a.is_better_than(b);
    }

    /// Takes away the experts of other groups than the best.
    template <class T>
    static void keep_best_groups(const RouteProblem& problem, std::vector<Candidate<T>>& keys) {
        const int size = problem.group_size(), groups = problem.options.groups;
        Candidate<T> best[RouteProblem::most_groups];
        for (int group = 0; group < groups; ++group) {
            Candidate<T> first, second;
            for (int i = group * size; i < (group + 1) * size; ++i) {
                const Candidate<T>& key = keys[static_cast<std::size_t>(i)];
                if (key.is_better_than(first)) {
                    second = first;
                    first = key;
                } else if (key.is_better_than(second)) {
                    second = key;
                }
            }
            const bool adds = problem.options.group_score == GroupScore::sum_of_best_two && size > 1;
            best[group] = {adds ? first.key + second.key : first.key, group};
        }
        std::partial_sort(best, best + problem.options.chosen_groups, best + groups, is_better<T>);
        bool is_kept[RouteProblem::most_groups] = {};
        for (int i = 0; i < problem.options.chosen_groups; ++i) is_kept[best[i].id] = true;
        std::erase_if(keys, [&](const Candidate<T>& key) { return !is_kept[key.id / size]; });
    }
};

template <>
struct Kernel<Dispatch, Cpu> {
    static void run(const DispatchProblem& problem, const std::int32_t* experts, std::int32_t* begins,
                    std::int32_t* slots, std::int32_t* sources, std::int32_t* load) {
        std::fill_n(load, problem.experts, 0);
        std::fill_n(sources, problem.rows, -1);
        for (std::int64_t i = 0; i < problem.assignments; ++i) {
            if (experts[i] < 0 || experts[i] >= problem.experts)
                throw Error("dispatch: expected experts below " + std::to_string(problem.experts) + ", got " +
                            std::to_string(experts[i]) + " at position " + std::to_string(i));
            ++load[experts[i]];
        }
        begins[0] = 0;
        for (int expert = 0; expert < problem.experts; ++expert)
            begins[expert + 1] = begins[expert] + problem.aligned(problem.kept(load[expert]));
        std::vector<int> taken(static_cast<std::size_t>(problem.experts));
        for (std::int64_t i = 0; i < problem.assignments; ++i) {
            int& rank = taken[static_cast<std::size_t>(experts[i])];
            slots[i] = -1;
            if (problem.capacity > 0 && rank >= problem.capacity) continue;
            slots[i] = begins[experts[i]] + rank++;
            sources[slots[i]] = static_cast<std::int32_t>(i);
        }
    }

    template <class C>
    static void count(const std::int32_t* chosen, int sequences, std::int64_t each, int experts, C* counts) {
        std::fill_n(counts, std::int64_t{sequences} * experts, C(0));
        for (std::int64_t i = 0; i < sequences * each; ++i) ++counts[i / each * experts + chosen[i]];
    }
};

template <>
struct Kernel<GatherRows, Cpu> {
    /// y [rows, width] is overwritten.
    template <class T>
    static void forward(const RowPlaces& p, const T* x, T* y) {
        parallel_for(p.rows, kernel::rows_of_a_task(p.width), [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t row = first; row < last; ++row) {
                if (p.sources[row] < 0)
                    std::fill_n(y + row * p.width, p.width, T(0.0f));
                else
                    std::copy_n(x + p.sources[row] / p.experts_per_token * p.width, p.width,
                                y + row * p.width);
            }
        });
    }

    /// The gradient of x: a token's rows, added up in the order of its assignments.
    template <class G>
    static void backward(const RowPlaces& p, const G* upstream, const Contribution<G>& gradient) {
        using C = ComputeOf<G>;
        parallel_for(p.tokens, kernel::rows_of_a_task(p.width * p.experts_per_token),
                     [&](std::int64_t first, std::int64_t last) {
                         for (std::int64_t token = first; token < last; ++token)
                             kernel::write_each<C>(p.width, gradient.data + token * p.width,
                                                   gradient.accumulate, [&]<class V>(std::int64_t at, V) {
                                                       return sum_of_rows<V>(p, token, upstream + at);
                                                   });
                     });
    }

private:
    template <class V, class G>
    static V sum_of_rows(const RowPlaces& p, std::int64_t token, const G* from) {
        V sum(0);
        for (std::int64_t i = token * p.experts_per_token; i < (token + 1) * p.experts_per_token; ++i)
            if (p.slots[i] >= 0) sum += load_as<V>(from + p.slots[i] * p.width);
        return sum;
    }
};

template <>
struct Kernel<CombineRows, Cpu> {
    /// y [tokens, width] is overwritten.
    template <class T, class C>
    static void forward(const RowPlaces& p, const C* weights, const T* x, T* y) {
        const int k = p.experts_per_token;
        parallel_for(p.tokens, kernel::rows_of_a_task(p.width * k),
                     [&](std::int64_t first, std::int64_t last) {
                         for (std::int64_t token = first; token < last; ++token)
                             kernel::write_each<C>(
                                 p.width, y + token * p.width, false, [&]<class V>(std::int64_t at, V) {
                                     V sum(0);
                                     for (std::int64_t i = token * k; i < (token + 1) * k; ++i)
                                         if (p.slots[i] >= 0)
                                             sum += V(weights[i]) * load_as<V>(x + p.slots[i] * p.width + at);
                                     return sum;
                                 });
                     });
    }

    /// The gradient of x: zero of rows that no token has.
    template <class C, class G>
    static void gradient_rows(const RowPlaces& p, const C* weights, const G* upstream,
                              const Contribution<G>& gradient) {
        parallel_for(p.rows, kernel::rows_of_a_task(p.width), [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t row = first; row < last; ++row) {
                const std::int64_t source = p.sources[row];
                G* const to = gradient.data + row * p.width;
                if (source < 0) {
                    if (!gradient.accumulate) std::fill_n(to, p.width, G(0.0f));
                    continue;
                }
                const G* const from = upstream + source / p.experts_per_token * p.width;
                kernel::write_each<C>(p.width, to, gradient.accumulate, [&]<class V>(std::int64_t at, V) {
                    return V(weights[source]) * load_as<V>(from + at);
                });
            }
        });
    }

    /// The gradient of the weights: of those that were dropped it is zero.
    template <class T, class C, class G>
    static void gradient_weights(const RowPlaces& p, const T* x, const G* upstream,
                                 const Contribution<C>& gradient) {
        const int k = p.experts_per_token;
        parallel_for(std::int64_t{p.tokens} * k, kernel::rows_of_a_task(p.width),
                     [&](std::int64_t first, std::int64_t last) {
                         for (std::int64_t i = first; i < last; ++i) {
                             C sum = 0;
                             if (p.slots[i] >= 0)
                                 sum = product_of_rows<C>(p.width, x + p.slots[i] * p.width,
                                                          upstream + i / k * p.width);
                             gradient.data[i] = gradient.accumulate ? gradient.data[i] + sum : sum;
                         }
                     });
    }

private:
    template <class C, class A, class B>
    static C product_of_rows(std::int64_t width, const A* a, const B* b) {
        using V = Packet<C>;
        V sums(C(0));
        std::int64_t at = 0;
        for (; at + V::size <= width; at += V::size) sums += load_as<V>(a + at) * load_as<V>(b + at);
        C sum = sums.sum();
        for (; at < width; ++at) sum += load_as<C>(a + at) * load_as<C>(b + at);
        return sum;
    }
};

template <>
struct Kernel<Widen, Cpu> {
    /// to (+)= from.
    template <class From, class To>
    static void run(const From* from, std::int64_t count, const Contribution<To>& to) {
        parallel_for(count, 16384, [&](std::int64_t first, std::int64_t last) {
            kernel::write_each<ComputeOf<To>>(
                last - first, to.data + first, to.accumulate,
                [&]<class V>(std::int64_t at, V) { return load_as<V>(from + first + at); });
        });
    }
};

}  // namespace tenon
