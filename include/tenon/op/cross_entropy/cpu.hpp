#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <string>

#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/computed.hpp>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#include <tenon/op/matmul/product.hpp>
#include <tenon/op/softmax/row_cpu.hpp>

namespace tenon {

template <>
struct Kernel<CrossEntropy, Cpu> {
    /// From logits as a tensor; log_sum_exp and loss are overwritten.
    template <class T, class Id, class C>
    static void forward(const ArrayView<T>& logits, const Id* targets, C* log_sum_exp, C* loss) {
        const std::int64_t vocabulary = logits.extents[logits.extents.rank - 1];
        const std::int64_t count = logits.extents.count(0, logits.extents.rank - 1);
        require_targets(targets, count, vocabulary);
        parallel_for(count, 1 + 16384 / vocabulary, [&](std::int64_t first, std::int64_t last) {
            Workspace scratch;
            C* buffer = std::same_as<T, C> ? nullptr : scratch.take<C>(static_cast<std::size_t>(vocabulary));
            for (std::int64_t i = first; i < last; ++i) {
                const C* row = kernel::computed<C>(logits.data + i * vocabulary, vocabulary, buffer);
                const C greatest = kernel::row_maximum(row, vocabulary);
                log_sum_exp[i] = greatest + std::log(sum_of_exponentials(row, vocabulary, greatest));
            }
        });
        double total = 0;
        for (std::int64_t i = 0; i < count; ++i)
            total += static_cast<double>(log_sum_exp[i]) -
                     load_as<double>(logits.data + i * vocabulary + targets[i]);
        *loss = static_cast<C>(total / static_cast<double>(count));
    }

    template <class T, class Id, class C>
    static void backward(const ArrayView<T>& logits, const Id* targets, const C* log_sum_exp, C upstream,
                         Contribution<C> gradient) {
        const std::int64_t vocabulary = logits.extents[logits.extents.rank - 1];
        const std::int64_t count = logits.extents.count(0, logits.extents.rank - 1);
        const C scale = upstream / static_cast<C>(count);
        parallel_for(count, 1 + 16384 / vocabulary, [&](std::int64_t first, std::int64_t last) {
            Workspace scratch;
            C* buffer = std::same_as<T, C> ? nullptr : scratch.take<C>(static_cast<std::size_t>(vocabulary));
            for (std::int64_t i = first; i < last; ++i) {
                C* to = gradient.data + i * vocabulary;
                const C* row = kernel::computed<C>(logits.data + i * vocabulary, vocabulary, buffer);
                kernel::scaled_exponentials(row, vocabulary, log_sum_exp[i], scale, to, gradient.accumulate);
                to[targets[i]] -= scale;
            }
        });
    }

    /// From hidden states [..., width] and head [vocabulary, width]: blocks of positions by chunks of the
    /// vocabulary, each chunk's logits in cache, the log sum exp carried from chunk to chunk.
    template <class T, class Id, class C>
    static void forward(const ArrayView<T>& hidden, const ArrayView<T>& head, const Id* targets,
                        C* log_sum_exp, C* loss) {
        const Sizes sizes(hidden.extents, head.extents);
        require_targets(targets, sizes.count, sizes.vocabulary);
        Workspace workspace;
        C* logits = workspace.take<C>(sizes.block * sizes.chunk);
        C* greatest = workspace.take<C>(sizes.block);
        C* sum = workspace.take<C>(sizes.block);
        C* target = workspace.take<C>(sizes.block);
        double total = 0;
        for (std::int64_t begin = 0; begin < sizes.count; begin += sizes.block) {
            const std::int64_t rows = std::min(sizes.block, sizes.count - begin);
            Workspace block_scratch;
            const C* states =
                kernel::computed<C>(hidden.data + begin * sizes.width, rows * sizes.width, block_scratch);
            std::fill_n(greatest, rows, -std::numeric_limits<C>::infinity());
            std::fill_n(sum, rows, C(0));
            for (std::int64_t first = 0; first < sizes.vocabulary; first += sizes.chunk) {
                const std::int64_t columns = std::min(sizes.chunk, sizes.vocabulary - first);
                Workspace scratch;
                const C* weights =
                    kernel::computed<C>(head.data + first * sizes.width, columns * sizes.width, scratch);
                chunk_of_logits(sizes, states, rows, weights, columns, logits);
                parallel_for(rows, 1 + 16384 / columns, [&](std::int64_t from, std::int64_t to) {
                    for (std::int64_t i = from; i < to; ++i) {
                        const C* row = logits + i * columns;
                        const C now = max(greatest[i], kernel::row_maximum(row, columns));
                        sum[i] =
                            sum[i] * std::exp(greatest[i] - now) + sum_of_exponentials(row, columns, now);
                        greatest[i] = now;
                        const std::int64_t index = static_cast<std::int64_t>(targets[begin + i]) - first;
                        if (index >= 0 && index < columns) target[i] = row[index];
                    }
                });
            }
            for (std::int64_t i = 0; i < rows; ++i) {
                log_sum_exp[begin + i] = greatest[i] + std::log(sum[i]);
                total += static_cast<double>(log_sum_exp[begin + i]) - static_cast<double>(target[i]);
            }
        }
        *loss = static_cast<C>(total / static_cast<double>(sizes.count));
    }

    /// Computes the chunks again; each gives its part to both gradients (null data: not wanted).
    template <class T, class Id, class C>
    static void backward(const ArrayView<T>& hidden, const ArrayView<T>& head, const Id* targets,
                         const C* log_sum_exp, C upstream, Contribution<C> to_hidden,
                         Contribution<C> to_head) {
        const Sizes sizes(hidden.extents, head.extents);
        const C scale = upstream / static_cast<C>(sizes.count);
        Workspace workspace;
        C* logits = workspace.take<C>(sizes.block * sizes.chunk);
        for (std::int64_t begin = 0; begin < sizes.count; begin += sizes.block) {
            const std::int64_t rows = std::min(sizes.block, sizes.count - begin);
            Workspace block_scratch;
            const C* states =
                kernel::computed<C>(hidden.data + begin * sizes.width, rows * sizes.width, block_scratch);
            for (std::int64_t first = 0; first < sizes.vocabulary; first += sizes.chunk) {
                const std::int64_t columns = std::min(sizes.chunk, sizes.vocabulary - first);
                Workspace scratch;
                const C* weights =
                    kernel::computed<C>(head.data + first * sizes.width, columns * sizes.width, scratch);
                chunk_of_logits(sizes, states, rows, weights, columns, logits);
                parallel_for(rows, 1 + 16384 / columns, [&](std::int64_t from, std::int64_t to) {
                    for (std::int64_t i = from; i < to; ++i) {
                        C* row = logits + i * columns;
                        kernel::scaled_exponentials(row, columns, log_sum_exp[begin + i], scale, row, false);
                        const std::int64_t index = static_cast<std::int64_t>(targets[begin + i]) - first;
                        if (index >= 0 && index < columns) row[index] -= scale;
                    }
                });
                if (to_hidden.data)
                    kernel::matrix_product<C>(rows, sizes.width, columns, {logits, columns, 1},
                                              {weights, sizes.width, 1},
                                              {to_hidden.data + begin * sizes.width, sizes.width, 1},
                                              to_hidden.accumulate || first > 0);
                if (to_head.data)
                    kernel::matrix_product<C>(columns, sizes.width, rows, {logits, 1, columns},
                                              {states, sizes.width, 1},
                                              {to_head.data + first * sizes.width, sizes.width, 1},
                                              to_head.accumulate || begin > 0);
            }
        }
    }

private:
    struct Sizes {
        std::int64_t count, width, vocabulary, block, chunk;

        Sizes(const Extents& hidden, const Extents& head)
            : count(hidden.count(0, hidden.rank - 1)),
              width(head[1]),
              vocabulary(head[0]),
              block(std::min<std::int64_t>(count, 512)),
              chunk(std::min<std::int64_t>(vocabulary, 2048)) {}
    };

    template <class C>
    static C sum_of_exponentials(const C* row, std::int64_t count, C shift) {
        return kernel::row_exponentials<false>(row, count, shift, static_cast<C*>(nullptr));
    }

    template <class C>
    static void chunk_of_logits(const Sizes& sizes, const C* states, std::int64_t rows, const C* weights,
                                std::int64_t columns, C* logits) {
        kernel::matrix_product<C>(rows, columns, sizes.width, {states, sizes.width, 1},
                                  {weights, 1, sizes.width}, {logits, columns, 1}, false);
    }

    template <class Id>
    static void require_targets(const Id* targets, std::int64_t count, std::int64_t vocabulary) {
        if (count == 0) throw ShapeError("cross_entropy: expected at least one target, got none");
        for (std::int64_t i = 0; i < count; ++i)
            if (static_cast<std::uint64_t>(targets[i]) >= static_cast<std::uint64_t>(vocabulary))
                throw Error("cross_entropy: expected targets below " + std::to_string(vocabulary) + ", got " +
                            std::to_string(targets[i]) + " at position " + std::to_string(i));
    }
};

}  // namespace tenon
