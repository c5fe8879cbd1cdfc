#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/op/matmul/product.hpp>
#include <tenon/optim/elementwise_cpu.hpp>
#include <tenon/optim/muon.hpp>
#include <tenon/optim/norm_cpu.hpp>
#include <tenon/optim/packets.hpp>
#include <tenon/optim/pass_cpu.hpp>
#include <tenon/optim/weights_cpu.hpp>

namespace tenon {
namespace detail {

/// c (+)= scale · a b, of which is known that it is symmetric, [size, size] and packed: blocks on and below
/// the diagonal are computed, the others copied.
template <class C>
void symmetric_product(std::int64_t size, std::int64_t depth, kernel::MatrixView<const C> a,
                       kernel::MatrixView<const C> b, C* c, bool accumulate, C scale) {
    constexpr std::int64_t block = 192;
    for (std::int64_t first = 0; first < size; first += block) {
        const std::int64_t last = std::min(size, first + block);
        kernel::matrix_product<C>(last - first, last, depth, a.from(first, 0), b, {c + first * size, size, 1},
                                  accumulate, scale);
    }
    constexpr std::int64_t side = 32;
    const std::int64_t sides = (size + side - 1) / side;
    parallel_for(sides, 4, [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin * side; row < std::min(size, end * side); row += side)
            for (std::int64_t column = row; column < size; column += side)
                for (std::int64_t i = row; i < std::min(size, row + side); ++i)
                    for (std::int64_t j = std::max(column, i + 1); j < std::min(size, column + side); ++j)
                        c[i * size + j] = c[j * size + i];
    });
}

/// x = scale · x to begin with, then `iterations` times x = (a + b X Xᵀ + c (X Xᵀ)²) X for a wide X, or a
/// tall one's transpose. x is packed; the result lies in x or in `other`, which is as large, and is returned.
template <class C>
C* newton_schulz(std::int64_t rows, std::int64_t columns, int iterations, C scale, C* x, C* other) {
    constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
    const bool wide = rows <= columns;
    const std::int64_t size = std::min(rows, columns), depth = std::max(rows, columns);
    Workspace workspace;
    C* gram = workspace.take<C>(static_cast<std::size_t>(size * size));
    C* polynomial = workspace.take<C>(static_cast<std::size_t>(size * size));
    for (int iteration = 0; iteration < iterations; ++iteration) {
        const kernel::MatrixView<const C> all{x, columns, 1}, squares{gram, size, 1};
        const kernel::MatrixView<const C> left = wide ? all : all.transposed();
        symmetric_product<C>(size, depth, left, left.transposed(), gram, false, scale * scale);
        for_each_packet<C>(size * size, [=](std::int64_t at, int lanes) {
            using V = Packet<C>;
            (V::load_partial(gram + at, lanes) * V(static_cast<C>(b))).store_partial(polynomial + at, lanes);
        });
        for (std::int64_t i = 0; i < size; ++i) polynomial[i * size + i] += static_cast<C>(a);
        symmetric_product<C>(size, size, squares, squares, polynomial, true, static_cast<C>(c));
        const kernel::MatrixView<const C> factor{polynomial, size, 1};
        kernel::matrix_product<C>(rows, columns, size, wide ? factor : all, wide ? all : factor,
                                  {other, columns, 1}, false, scale);
        scale = 1;
        std::swap(x, other);
    }
    return x;
}

}  // namespace detail

template <>
struct Kernel<MuonUpdate, Cpu> {
    template <class T, class C, class Master>
    using Pass = detail::CpuPass<Kernel, MuonStep<C>, T, C, Master>;

    template <class T, class C, class Master>
    static void run(const TrainedParameter<T, C, Master>& entry, const Weights<T, Master>& weights,
                    const MuonStep<C>& step) {
        const Matrices matrices = matrices_of(*entry.parameter);
        const std::int64_t count = matrices.rows * matrices.columns;
        for (std::int64_t matrix = 0; matrix < matrices.count; ++matrix)
            update(weights, matrix * count, entry.gradient() + matrix * count,
                   entry.state(0) + matrix * count, matrices.rows, matrices.columns, step);
    }

private:
    template <class T, class C, class Master>
    static void update(const Weights<T, Master> weights, std::int64_t first, const C* gradient, C* momentum,
                       std::int64_t rows, std::int64_t columns, const MuonStep<C>& step) {
        using V = Packet<C>;
        const std::int64_t count = rows * columns;
        Workspace workspace;
        C* direction = workspace.take<C>(static_cast<std::size_t>(count));
        C* other = workspace.take<C>(static_cast<std::size_t>(count));
        detail::for_each_packet<C>(count, [=](std::int64_t at, int lanes) {
            const V g = V(step.one_minus_momentum) * V::load_partial(gradient + at, lanes);
            const V m = fma(V(step.momentum), V::load_partial(momentum + at, lanes), g);
            m.store_partial(momentum + at, lanes);
            (step.nesterov ? fma(V(step.momentum), m, g) : m).store_partial(direction + at, lanes);
        });
        // A step without a direction stays zero.
        const double norm = std::sqrt(Kernel<GradientNorm, Cpu>::sum_of_squares(direction, count));
        const C* x = detail::newton_schulz(rows, columns, step.iterations,
                                           static_cast<C>(1 / std::max(norm, 1e-7)), direction, other);
        detail::for_each_packet<C>(count, [=](std::int64_t at, int lanes) {
            const V kept = detail::load_weights<V>(weights, first + at, lanes) * V(step.keep);
            detail::store_weights(fma(V(-step.rate), V::load_partial(x + at, lanes), kept), weights,
                                  first + at, lanes);
        });
    }
};

}  // namespace tenon
