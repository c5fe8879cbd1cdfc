#pragma once

#include <algorithm>
#include <cstdint>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/expression/reduction.hpp>

namespace tenon {

/// Reduces an axis that is not the last by adding up whole rows: out[i, k] = R over j of x[i, j, k]. The work
/// is cut into blocks of columns k and of rows j, the same for any number of threads; sums are of the type of
/// computation within a block, and of f64 from block to block.
template <>
struct Kernel<ReduceAxis, Cpu> {
    /// out is packed and overwritten.
    template <class R, class T>
    static void forward(const ArrayView<T>& x, int axis, T* out) {
        using C = ComputeOf<T>;
        const Split split(x, axis);
        const std::int64_t row_blocks = split.row_blocks(), count = split.outer * split.inner;
        const auto finish = [&](double total) {
            return static_cast<C>(R::finish(total, static_cast<double>(split.length)));
        };
        Workspace workspace;
        // [outer, row blocks, inner], where there are several to a column.
        C* parts = row_blocks > 1 ? workspace.take<C>(static_cast<std::size_t>(count * row_blocks)) : nullptr;
        for_each_block(split, [&](const Block& block) {
            C totals[block_columns];
            std::fill_n(totals, block_columns, R::template identity<C>());
            visit<C>(x, split, block, [&](std::int64_t, std::int64_t k, auto value) {
                using V = decltype(value);
                C* total = totals + (k - block.column);
                store_as(R::combine(load_as<V>(total), value), total);
            });
            const std::int64_t columns = block.column_end - block.column;
            if (parts) {
                std::copy_n(totals, columns, parts + block.result * split.inner + block.column);
            } else {
                for (std::int64_t k = 0; k < columns; ++k)
                    store_as(finish(static_cast<double>(totals[k])),
                             out + block.outer * split.inner + block.column + k);
            }
        });
        if (!parts) return;
        parallel_for(count, 4096, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t at = first; at < last; ++at) {
                const C* part = parts + at / split.inner * row_blocks * split.inner + at % split.inner;
                double total = R::template identity<double>();
                for (std::int64_t i = 0; i < row_blocks; ++i)
                    total = R::combine(total, static_cast<double>(part[i * split.inner]));
                store_as(finish(total), out + at);
            }
        });
    }

    /// The gradient of x is packed in x's shape; it is overwritten or accumulated.
    template <class R, class T, class C = ComputeOf<T>>
    static void backward(const ArrayView<T>& x, int axis, const T* result, const C* upstream,
                         Contribution<C> gradient) {
        const Split split(x, axis);
        Workspace workspace;
        const C* share = upstream;
        const C factor = R::share(C(split.length));
        if constexpr (R::selects) share = share_among_ties(x, split, result, upstream, workspace);
        for_each_block(split, [&](const Block& block) {
            const C* own_share = share + block.outer * split.inner;
            C* to = gradient.data + block.outer * split.length * split.inner;
            const auto add = [&](std::int64_t j, std::int64_t k, auto given) {
                using V = decltype(given);
                C* element = to + j * split.inner + k;
                if (gradient.accumulate) given += load_as<V>(element);
                store_as(given, element);
            };
            if constexpr (R::selects) {
                const T* reduced = result + block.outer * split.inner;
                visit<C>(x, split, block, [&](std::int64_t j, std::int64_t k, auto value) {
                    using V = decltype(value);
                    add(j, k, select(value == load_as<V>(reduced + k), load_as<V>(own_share + k), V(C(0))));
                });
            } else {
                // The values of x do not matter: each of its rows gets the shares.
                for (std::int64_t j = block.row; j < block.row_end; ++j)
                    visit_row<C>(own_share, block, [&](std::int64_t k, auto given) {
                        add(j, k, given * decltype(given)(factor));
                    });
            }
        });
    }

private:
    static constexpr std::int64_t block_rows = 1024, block_columns = 512;

    /// The extents as [outer, length, inner] around the reduced axis.
    struct Split {
        std::int64_t outer, length, inner, step;
        int axis;
        bool is_dense;  // the axes after the reduced one are packed

        template <class T>
        Split(const ArrayView<T>& x, int reduced)
            : outer(x.extents.count(0, reduced)),
              length(x.extents[reduced]),
              inner(x.extents.count(reduced + 1)),
              step(x.strides[reduced]),
              axis(reduced),
              is_dense(true) {
            std::int64_t packed = 1;
            for (int a = x.extents.rank - 1; a > axis; --a) {
                is_dense = is_dense && (x.extents[a] == 1 || x.strides[a] == packed);
                packed *= x.extents[a];
            }
        }

        std::int64_t row_blocks() const {
            return std::max<std::int64_t>(1, (length + block_rows - 1) / block_rows);
        }
        std::int64_t column_blocks() const { return (inner + block_columns - 1) / block_columns; }

        /// Where the first element of column `at` of [outer, inner] lies.
        template <class T>
        std::int64_t offset(const ArrayView<T>& x, std::int64_t at) const {
            std::int64_t offset = 0;
            for (int a = x.extents.rank - 1; a >= 0; --a) {
                if (a == axis) continue;
                offset += at % x.extents[a] * x.strides[a];
                at /= x.extents[a];
            }
            return offset;
        }
    };

    /// Some rows by some columns.
    struct Block {
        std::int64_t outer, result;  // `result` counts those of [outer, row blocks]
        std::int64_t row, row_end, column, column_end;
    };

    template <class Body>
    static void for_each_block(const Split& split, const Body& body) {
        const std::int64_t rows = split.row_blocks(), columns = split.column_blocks();
        const std::int64_t size = std::min(split.length, block_rows) * std::min(split.inner, block_columns);
        parallel_for(split.outer * rows * columns, 1 + 16384 / (size + 1),
                     [&](std::int64_t first, std::int64_t last) {
                         for (std::int64_t index = first; index < last; ++index) {
                             const std::int64_t column = index % columns * block_columns,
                                                result = index / columns, row = result % rows * block_rows;
                             body(Block{result / rows, result, row, std::min(row + block_rows, split.length),
                                        column, std::min(column + block_columns, split.inner)});
                         }
                     });
    }

    /// Calls body(k, value) for packets of a row, then for single elements.
    template <class C, class T, class Body>
    static void visit_row(const T* row, const Block& block, const Body& body) {
        using V = Packet<C>;
        std::int64_t k = block.column;
        for (; k + V::size <= block.column_end; k += V::size) body(k, load_as<V>(row + k));
        for (; k < block.column_end; ++k) body(k, load_as<C>(row + k));
    }

    /// Calls body(j, k, value) for the elements of a block; along rows, unless those are scattered.
    template <class C, class T, class Body>
    static void visit(const ArrayView<T>& x, const Split& split, const Block& block, const Body& body) {
        const std::int64_t begin = block.outer * split.inner;
        if (split.is_dense) {
            const T* row = x.data + split.offset(x, begin) + block.row * split.step;
            for (std::int64_t j = block.row; j < block.row_end; ++j, row += split.step)
                visit_row<C>(row, block, [&](std::int64_t k, auto value) { body(j, k, value); });
        } else {
            for (std::int64_t k = block.column; k < block.column_end; ++k) {
                const T* column = x.data + split.offset(x, begin + k);
                for (std::int64_t j = block.row; j < block.row_end; ++j)
                    body(j, k, load_as<C>(column + j * split.step));
            }
        }
    }

    /// The gradients of the results, each divided by the number of elements that equal the result.
    template <class T, class C>
    static C* share_among_ties(const ArrayView<T>& x, const Split& split, const T* result, const C* upstream,
                               Workspace& workspace) {
        const std::int64_t row_blocks = split.row_blocks(), count = split.outer * split.inner;
        C* share = workspace.take<C>(static_cast<std::size_t>(count));
        C* ties = workspace.take<C>(static_cast<std::size_t>(count * row_blocks));
        for_each_block(split, [&](const Block& block) {
            const T* reduced = result + block.outer * split.inner;
            C* own = ties + block.result * split.inner;
            std::fill(own + block.column, own + block.column_end, C(0));
            visit<C>(x, split, block, [&](std::int64_t, std::int64_t k, auto value) {
                using V = decltype(value);
                const V is_equal = select(value == load_as<V>(reduced + k), V(C(1)), V(C(0)));
                store_as(load_as<V>(own + k) + is_equal, own + k);
            });
        });
        parallel_for(count, 4096, [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t at = first; at < last; ++at) {
                const C* own = ties + at / split.inner * row_blocks * split.inner + at % split.inner;
                double total = 0;
                for (std::int64_t i = 0; i < row_blocks; ++i)
                    total += static_cast<double>(own[i * split.inner]);
                share[at] = static_cast<C>(static_cast<double>(upstream[at]) / total);
            }
        });
        return share;
    }
};

}  // namespace tenon
