#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/computed.hpp>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#include <tenon/op/cross_entropy/row_cpu.hpp>
#include <tenon/op/matmul/product.hpp>

namespace tenon {

template <>
struct Kernel<CrossEntropy, Cpu> {
    /// Writes each target's number, or -1 for one to ignore, and how many count.
    template <class Id>
    static void check_targets(const Id* targets, std::int64_t vocabulary,
                              const std::optional<std::int64_t>& ignore,
                              const detail::CheckedTargets& checked) {
        std::int32_t* numbers = checked.numbers();
        std::int64_t counted = 0;
        for (std::int64_t i = 0; i < checked.size; ++i) {
            numbers[i] = -1;
            if (ignore && static_cast<std::int64_t>(targets[i]) == *ignore) continue;
            if (static_cast<std::uint64_t>(targets[i]) >= static_cast<std::uint64_t>(vocabulary))
                throw Error("cross_entropy: expected targets below " + std::to_string(vocabulary) + ", got " +
                            std::to_string(targets[i]) + " at position " + std::to_string(i));
            numbers[i] = static_cast<std::int32_t>(targets[i]);
            ++counted;
        }
        *checked.counted() = counted;
    }

    /// From logits as a tensor. Null log_sum_exp: not wanted.
    template <class T, class C>
    static void forward(const ArrayView<T>& logits, const detail::CheckedTargets& targets,
                        const CrossEntropyOptions& options, C* losses, C* log_sum_exp) {
        const std::int64_t vocabulary = logits.extents[logits.extents.rank - 1];
        const kernel::PositionLoss<C> loss(options, vocabulary, *targets.counted());
        for_each_row<C>(logits, targets, [&](std::int64_t i, std::int64_t target, const C* row) {
            kernel::RowStatistics<C> statistics;
            if (target >= 0) statistics.include(row, vocabulary, target, loss.needs_total());
            losses[i] = target >= 0 ? loss.value(statistics) : C(0);
            if (log_sum_exp) log_sum_exp[i] = statistics.log_sum_exp();
        });
    }

    template <class T, class C>
    static void backward(const ArrayView<T>& logits, const detail::CheckedTargets& targets,
                         const CrossEntropyOptions& options, const C* log_sum_exp, const C* upstream,
                         Contribution<C> gradient) {
        const std::int64_t vocabulary = logits.extents[logits.extents.rank - 1];
        const kernel::PositionLoss<C> loss(options, vocabulary, *targets.counted(), *upstream);
        const kernel::LogitsMap<C, PlainLogits> plain{PlainLogits()};
        for_each_row<C>(logits, targets, [&](std::int64_t i, std::int64_t target, const C* row) {
            C* to = gradient.data + i * vocabulary;
            if (target >= 0)
                loss.gradient(row, vocabulary, target, log_sum_exp[i], plain, to, gradient.accumulate);
            else if (!gradient.accumulate)
                std::fill_n(to, vocabulary, C(0));
        });
    }

    /// From hidden states and head, and an addend's (null: none): blocks of positions by chunks of the
    /// vocabulary, each row's statistics carried from chunk to chunk. Where gradients of the mean are wanted
    /// all chunks of a block are kept until its rows' statistics are whole, and each then gives its part to
    /// all (Hsu et al. 2024, "Liger Kernel").
    template <class T, class W, class C, class Options>
    static void forward(const LogitsFactors<T, W, C>& product, const LogitsFactors<T, T, C>* addend,
                        const Options& logits_options, const detail::CheckedTargets& targets,
                        const CrossEntropyOptions& options, C* losses) {
        const std::int64_t vocabulary = product.head.extents[0];
        const bool keeps_chunks = product.wants_gradients() || (addend && addend->wants_gradients());
        const std::int64_t block =
            std::min<std::int64_t>(targets.size, keeps_chunks ? CrossEntropy::gradient_block : 512);
        const std::int64_t chunk = std::min<std::int64_t>(vocabulary, 2048);
        const kernel::PositionLoss<C> loss(options, vocabulary, *targets.counted());
        const kernel::LogitsMap<C, Options> map(logits_options);

        Workspace workspace;
        C* block_logits =
            workspace.take<C>(static_cast<std::size_t>(block * (keeps_chunks ? vocabulary : chunk)));
        auto* statistics = workspace.take<kernel::RowStatistics<C>>(static_cast<std::size_t>(block));
        for (std::int64_t begin = 0; begin < targets.size; begin += block) {
            const std::int64_t rows = std::min(block, targets.size - begin);
            Workspace block_scratch;
            const auto states_of = [&](const auto& factors) {
                const std::int64_t width = factors.width();
                return kernel::computed<C>(factors.hidden.data + begin * width, rows * width, block_scratch);
            };
            const C *const states = states_of(product), *const narrow = addend ? states_of(*addend) : nullptr;
            const std::int32_t* numbers = targets.numbers() + begin;

            const auto for_each_chunk = [&](auto&& body) {
                for (std::int64_t first = 0; first < vocabulary; first += chunk)
                    body(first, std::min(chunk, vocabulary - first),
                         block_logits + (keeps_chunks ? first * rows : 0));
            };
            // Calls body(factors, states, weights) for one product, and the other.
            const auto for_each_product = [&](std::int64_t first, std::int64_t columns, auto&& body) {
                const auto call = [&](const auto& factors, const C* own_states) {
                    const std::int64_t width = factors.width();
                    Workspace scratch;
                    body(factors, own_states,
                         kernel::computed<C>(factors.head.data + first * width, columns * width, scratch));
                };
                call(product, states);
                if (addend) call(*addend, narrow);
            };
            std::fill_n(statistics, rows, kernel::RowStatistics<C>());
            for_each_chunk([&](std::int64_t first, std::int64_t columns, C* logits) {
                bool accumulate = false;
                for_each_product(first, columns, [&](const auto& factors, const C* from, const C* weights) {
                    const std::int64_t width = factors.width();
                    kernel::matrix_product<C>(rows, columns, width, {from, width, 1}, {weights, 1, width},
                                              {logits, columns, 1}, accumulate, map.product_scale);
                    accumulate = true;
                });
                parallel_for(rows, grain_of(columns), [&](std::int64_t from, std::int64_t to) {
                    for (std::int64_t i = from; i < to; ++i) {
                        if (numbers[i] < 0) continue;
                        C* row = logits + i * columns;
                        map.apply(row, columns);
                        statistics[i].include(row, columns, numbers[i] - first, loss.needs_total());
                    }
                });
            });
            for (std::int64_t i = 0; i < rows; ++i)
                losses[begin + i] = numbers[i] >= 0 ? loss.value(statistics[i]) : C(0);
            if (!keeps_chunks) continue;

            for_each_chunk([&](std::int64_t first, std::int64_t columns, C* logits) {
                parallel_for(rows, grain_of(columns), [&](std::int64_t from, std::int64_t to) {
                    for (std::int64_t i = from; i < to; ++i) {
                        C* row = logits + i * columns;
                        if (numbers[i] >= 0)
                            loss.gradient(row, columns, numbers[i] - first, statistics[i].log_sum_exp(), map,
                                          row, false);
                        else
                            std::fill_n(row, columns, C(0));
                    }
                });
                for_each_product(first, columns, [&](const auto& factors, const C* from, const C* weights) {
                    const std::int64_t width = factors.width();
                    C *const to_hidden = factors.to_hidden.data, *const to_head = factors.to_head.data;
                    if (to_hidden)
                        kernel::matrix_product<C>(rows, width, columns, {logits, columns, 1},
                                                  {weights, width, 1}, {to_hidden + begin * width, width, 1},
                                                  first > 0, map.gradient_scale);
                    if (to_head)
                        kernel::matrix_product<C>(columns, width, rows, {logits, 1, columns},
                                                  {from, width, 1}, {to_head + first * width, width, 1},
                                                  begin > 0, map.gradient_scale);
                });
            });
        }
    }

    /// The mean over the positions that count; the losses of others are 0.
    template <class C>
    static void mean(const C* losses, const detail::CheckedTargets& targets, C* mean) {
        double total = 0;
        for (std::int64_t i = 0; i < targets.size; ++i) total += static_cast<double>(losses[i]);
        *mean = static_cast<C>(*targets.counted() > 0 ? total / static_cast<double>(*targets.counted()) : 0);
    }

    /// Contributes `scale` times `prepared`, which may be where that goes.
    template <class C>
    static void add_scaled(const Contribution<C>& prepared, std::int64_t count, const C* scale,
                           const Contribution<C>& to) {
        using V = Packet<C>;
        const C* const from = prepared.data;
        const C factor = *scale;
        if (from == to.data && factor == C(1)) return;
        parallel_for(count, 16384, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t at = first; at < last; at += V::size) {
                const int lanes = static_cast<int>(std::min<std::int64_t>(V::size, last - at));
                V value = V(factor) * V::load_partial(from + at, lanes);
                if (to.accumulate) value += V::load_partial(to.data + at, lanes);
                value.store_partial(to.data + at, lanes);
            }
        });
    }

private:
    static std::int64_t grain_of(std::int64_t columns) { return 1 + 16384 / columns; }

    /// Calls body(i, target, row) for each row of logits, on several threads.
    template <class C, class T, class Body>
    static void for_each_row(const ArrayView<T>& logits, const detail::CheckedTargets& targets, Body&& body) {
        const std::int64_t vocabulary = logits.extents[logits.extents.rank - 1];
        parallel_for(targets.size, grain_of(vocabulary), [&](std::int64_t first, std::int64_t last) {
            Workspace scratch;
            C* buffer = std::same_as<T, C> ? nullptr : scratch.take<C>(static_cast<std::size_t>(vocabulary));
            for (std::int64_t i = first; i < last; ++i)
                body(i, targets.numbers()[i],
                     kernel::computed<C>(logits.data + i * vocabulary, vocabulary, buffer));
        });
    }
};

}  // namespace tenon
