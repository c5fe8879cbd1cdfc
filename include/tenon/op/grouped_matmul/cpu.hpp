#pragma once

#include <algorithm>
#include <string>

#include <tenon/op/grouped_matmul/grouped_matmul.hpp>
#include <tenon/op/matmul/cpu.hpp>

namespace tenon {

/// A product for each group, on all threads.
template <>
struct Kernel<GroupedMatmul, Cpu> {
    /// y [rows, out] is overwritten. `weight`: a pointer, or StoredElements.
    template <class T, class Weight>
    static void forward(const RowGroups& groups, int in, int out, const T* x, Weight weight, T* y) {
        require_ascending(groups);
        clear_rows_of_no_group(groups, out, y);
        for_each_group(groups, [&](std::int64_t group, std::int64_t begin, std::int64_t count) {
            Kernel<Matmul, Cpu>::forward(product(count, in, out), x + begin * in, weight + group * out * in,
                                         y + begin * out);
        });
    }

    template <class T, class C>
    static void gradient_rows(const RowGroups& groups, int in, int out, const C* upstream, const T* weight,
                              const Contribution<C>& gradient) {
        if (!gradient.accumulate) clear_rows_of_no_group(groups, in, gradient.data);
        for_each_group(groups, [&](std::int64_t group, std::int64_t begin, std::int64_t count) {
            Kernel<Matmul, Cpu>::gradient_a(product(count, in, out), upstream + begin * out,
                                            weight + group * out * in,
                                            Contribution<C>{gradient.data + begin * in, gradient.accumulate});
        });
    }

    template <class T, class C>
    static void gradient_weight(const RowGroups& groups, int in, int out, const C* upstream, const T* x,
                                const Contribution<C>& gradient) {
        const std::int64_t size = std::int64_t{in} * out;
        if (!gradient.accumulate)
            for (int group = 0; group < groups.count; ++group)
                if (groups.begins[group] == groups.begins[group + 1])
                    std::fill_n(gradient.data + group * size, size, C(0));
        for_each_group(groups, [&](std::int64_t group, std::int64_t begin, std::int64_t count) {
            const detail::Product p = product(count, in, out);
            Kernel<Matmul, Cpu>::gradient_b(
                p, p, upstream + begin * out, x + begin * in,
                Contribution<C>{gradient.data + group * size, gradient.accumulate});
        });
    }

private:
    static detail::Product product(std::int64_t rows, int in, int out) {
        return {.rows = rows,
                .columns = out,
                .depth = in,
                .a_row = in,
                .a_column = 1,
                .b_row = 1,
                .b_column = in};
    }

    /// f(group, begin, count) for those that have rows.
    template <class F>
    static void for_each_group(const RowGroups& groups, const F& f) {
        for (int group = 0; group < groups.count; ++group)
            if (const std::int32_t begin = groups.begins[group], count = groups.begins[group + 1] - begin;
                count > 0)
                f(group, begin, count);
    }

    template <class T>
    static void clear_rows_of_no_group(const RowGroups& groups, std::int64_t width, T* rows) {
        std::fill(rows, rows + groups.begins[0] * width, T(0));
        std::fill(rows + groups.begins[groups.count] * width, rows + groups.rows * width, T(0));
    }

    static void require_ascending(const RowGroups& groups) {
        std::int32_t last = 0;
        for (int i = 0; i <= groups.count; ++i) {
            const std::int32_t begin = groups.begins[i];
            if (begin < last || begin > groups.rows)
                throw Error("grouped_matmul: expected begins that ascend to at most " +
                            std::to_string(groups.rows) + ", got " + std::to_string(begin) + " at position " +
                            std::to_string(i));
            last = begin;
        }
    }
};

}  // namespace tenon
