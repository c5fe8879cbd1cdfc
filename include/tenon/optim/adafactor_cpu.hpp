#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/optim/adafactor.hpp>
#include <tenon/optim/packets.hpp>
#include <tenon/optim/pass_cpu.hpp>
#include <tenon/optim/weights_cpu.hpp>

namespace tenon {

/// Sums are those of blocks of a fixed size, added up in order.
template <>
struct Kernel<AdafactorUpdate, Cpu> {
    template <class T, class C, class Master>
    using Pass = detail::CpuPass<Kernel, AdafactorRule<C>, T, C, Master>;

    template <class T, class C, class Master>
    static void run(const TrainedParameter<T, C, Master>& entry, const Weights<T, Master>& weights,
                    const AdafactorStep<C>& step) {
        if (const Matrices matrices = matrices_of(*entry.parameter); matrices.count > 0)
            run_factored(weights, entry.gradient(), entry.state(0), entry.state(1), matrices, step);
        else
            run_vector(weights, entry.gradient(), entry.state(0), entry.size(), step);
    }

private:
    template <class T, class C, class Master>
    static void run_vector(const Weights<T, Master> weights, const C* gradient, C* second_moment,
                           std::int64_t count, const AdafactorStep<C>& step) {
        using V = Packet<C>;
        const auto direction = [=](std::int64_t at, int lanes) {
            return V::load_partial(gradient + at, lanes) / sqrt(V::load_partial(second_moment + at, lanes));
        };
        const std::int64_t tasks = (count + block_size - 1) / block_size;
        Sums sums(tasks);
        parallel_for_each(tasks, [&](std::int64_t task) {
            V steps(C(0)), values(C(0));
            detail::for_each_packet_within<C>(
                task * block_size, std::min(count, (task + 1) * block_size), [&](std::int64_t at, int lanes) {
                    const V g = V::load_partial(gradient + at, lanes);
                    fma(V(step.beta), V::load_partial(second_moment + at, lanes),
                        V(step.one_minus_beta) * fma(g, g, V(step.epsilon)))
                        .store_partial(second_moment + at, lanes);
                    add_square(steps, only(lanes, direction(at, lanes)));
                    add_square(values, detail::load_weights<V>(weights, at, lanes));
                });
            sums.steps[task] = static_cast<double>(steps.sum());
            sums.values[task] = static_cast<double>(values.sum());
        });
        const V rate(sums.rate<C>(step, count));
        detail::for_each_packet<C>(count, [=](std::int64_t at, int lanes) {
            const V p =
                fma(-rate, direction(at, lanes), detail::load_weights<V>(weights, at, lanes) * V(step.keep));
            detail::store_weights(p, weights, at, lanes);
        });
    }

    template <class T, class C, class Master>
    static void run_factored(const Weights<T, Master> weights, const C* gradient, C* row_moment,
                             C* column_moment, const Matrices& matrices, const AdafactorStep<C>& step) {
        using V = Packet<C>;
        const std::int64_t rows = matrices.rows, columns = matrices.columns, count = matrices.count;
        Workspace workspace;
        C* row_scale = workspace.take<C>(static_cast<std::size_t>(count * rows));
        C* column_scale = workspace.take<C>(static_cast<std::size_t>(count * columns));
        update_moments(gradient, row_moment, column_moment, matrices, step);
        for (std::int64_t matrix = 0; matrix < count; ++matrix) {
            double total = 0;
            for (std::int64_t i = 0; i < rows; ++i)
                total += static_cast<double>(row_moment[matrix * rows + i]);
            const double mean = total / static_cast<double>(rows);
            for (std::int64_t i = matrix * rows; i < (matrix + 1) * rows; ++i)
                row_scale[i] = static_cast<C>(std::sqrt(mean / static_cast<double>(row_moment[i])));
        }
        for (std::int64_t j = 0; j < count * columns; ++j) column_scale[j] = 1 / std::sqrt(column_moment[j]);
        const auto direction = [=](std::int64_t row, std::int64_t j, int lanes) {
            return V::load_partial(gradient + row * columns + j, lanes) * V(row_scale[row]) *
                   V::load_partial(column_scale + row / rows * columns + j, lanes);
        };

        const std::int64_t tasks = (count * rows + block_rows - 1) / block_rows;
        Sums sums(tasks);
        parallel_for_each(tasks, [&](std::int64_t task) {
            double all_steps = 0, all_values = 0;
            for (std::int64_t row = task * block_rows; row < std::min(count * rows, (task + 1) * block_rows);
                 ++row) {
                V steps(C(0)), values(C(0));
                detail::for_each_packet_within<C>(0, columns, [&](std::int64_t j, int lanes) {
                    add_square(steps, direction(row, j, lanes));
                    add_square(values, detail::load_weights<V>(weights, row * columns + j, lanes));
                });
                all_steps += static_cast<double>(steps.sum());
                all_values += static_cast<double>(values.sum());
            }
            sums.steps[task] = all_steps;
            sums.values[task] = all_values;
        });
        const V rate(sums.rate<C>(step, count * rows * columns));
        parallel_for_each(tasks, [&](std::int64_t task) {
            for (std::int64_t row = task * block_rows; row < std::min(count * rows, (task + 1) * block_rows);
                 ++row)
                detail::for_each_packet_within<C>(0, columns, [&](std::int64_t j, int lanes) {
                    const std::int64_t at = row * columns + j;
                    const V kept = detail::load_weights<V>(weights, at, lanes) * V(step.keep);
                    detail::store_weights(fma(-rate, direction(row, j, lanes), kept), weights, at, lanes);
                });
        });
    }

    static constexpr std::int64_t block_size = 16384, block_rows = 64;

    /// The sums of squares of the steps and of the parameter's elements, one of each for each block.
    struct Sums {
        explicit Sums(std::int64_t tasks)
            : tasks(tasks),
              steps(workspace.take<double>(static_cast<std::size_t>(tasks))),
              values(workspace.take<double>(static_cast<std::size_t>(tasks))) {}

        /// The rate with all that scales it.
        template <class C>
        C rate(const AdafactorStep<C>& step, std::int64_t count) const {
            const double root = root_mean_square(steps, count);
            double rate = step.rate / std::max(1.0, root / step.threshold);
            if (step.least_scale >= 0) rate *= std::max(step.least_scale, root_mean_square(values, count));
            return static_cast<C>(rate);
        }
        double root_mean_square(const double* sums, std::int64_t count) const {
            double total = 0;
            for (std::int64_t task = 0; task < tasks; ++task) total += sums[task];
            return std::sqrt(total / static_cast<double>(count));
        }

        std::int64_t tasks;
        Workspace workspace;
        double *steps, *values;
    };

    template <class V>
    static void add_square(V& sum, V x) {
        sum = fma(x, x, sum);
    }

    /// The first lanes; the others, where a zero was divided by a zero, become zero.
    template <class C>
    static Packet<C> only(int lanes, Packet<C> x) {
        if (lanes == Packet<C>::size) return x;
        C numbers[Packet<C>::size];
        x.store(numbers);
        return Packet<C>::load_partial(numbers, lanes);
    }

    template <class C>
    static void update_moments(const C* gradient, C* row_moment, C* column_moment, const Matrices& matrices,
                               const AdafactorStep<C>& step) {
        using V = Packet<C>;
        const std::int64_t rows = matrices.rows, columns = matrices.columns;
        const std::int64_t blocks = (rows + block_rows - 1) / block_rows;
        Workspace workspace;
        C* partial = workspace.take<C>(static_cast<std::size_t>(matrices.count * blocks * columns));
        parallel_for_each(matrices.count * blocks, [&](std::int64_t task) {
            const std::int64_t matrix = task / blocks, first = task % blocks * block_rows;
            C* sums = partial + task * columns;
            std::fill_n(sums, columns, C(0));
            for (std::int64_t i = first; i < std::min(rows, first + block_rows); ++i) {
                const std::int64_t row = matrix * rows + i;
                V along(C(0));
                detail::for_each_packet_within<C>(0, columns, [&](std::int64_t j, int lanes) {
                    const V g = V::load_partial(gradient + row * columns + j, lanes);
                    add_square(along, g);
                    fma(g, g, V::load_partial(sums + j, lanes)).store_partial(sums + j, lanes);
                });
                const C mean = along.sum() / static_cast<C>(columns) + step.epsilon;
                row_moment[row] = step.beta * row_moment[row] + step.one_minus_beta * mean;
            }
        });
        for (std::int64_t matrix = 0; matrix < matrices.count; ++matrix)
            parallel_for(columns, 256, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t j = begin; j < end; ++j) {
                    double sum = 0;
                    for (std::int64_t block = 0; block < blocks; ++block)
                        sum += static_cast<double>(partial[(matrix * blocks + block) * columns + j]);
                    C& moment = column_moment[matrix * columns + j];
                    const C mean = static_cast<C>(sum / static_cast<double>(rows)) + step.epsilon;
                    moment = step.beta * moment + step.one_minus_beta * mean;
                }
            });
    }
};

}  // namespace tenon
