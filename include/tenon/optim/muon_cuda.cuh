#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/optim/chunks.cuh>
#include <tenon/optim/muon.hpp>
#include <tenon/optim/newton_schulz.cuh>
#include <tenon/optim/norm_cuda.cuh>
#include <tenon/optim/staged_table.cuh>
#include <tenon/optim/weights_cuda.cuh>

namespace tenon {
namespace cuda {

/// What the update of one matrix needs: a parameter, or a part of one that begins at its element `first`.
template <class T, class C, class Master>
struct MatrixRecord {
    Weights<T, Master> weights;
    std::int64_t first;
    const C* gradient;  // of this matrix; null: none at this step
    C* momentum;
    bool is_aligned;
    MuonStep<C> step;
};

// Kernels for matrices of `count` elements each, one after the other in `x`; one block a chunk.

/// Moves the momenta, writes the directions, and adds up the squares of each chunk.
template <int N, class Record, class C, class X>
__global__ void __launch_bounds__(chunk_threads)
    muon_directions(const Chunk* chunks, const Record* records, std::int64_t count, const double* factor,
                    X* x, double* sums) {
    __shared__ double scratch[chunk_threads / warp_size];
    const Chunk chunk = chunks[blockIdx.x];
    const Record& record = records[chunk.array];
    const C scale = factor ? static_cast<C>(*factor) : C(1);
    const MuonStep<C> step = record.step;
    X* const direction = x + chunk.array * count;
    double total = 0;
    for_each_pack<N>(chunk, count, record.is_aligned, [&](std::int64_t at, auto n) {
        constexpr int width = decltype(n)::value;
        C d[width] = {};
        if (record.gradient && scale == scale) {
            C g[width], m[width];
            load(record.gradient + at, g);
            load(record.momentum + at, m);
#pragma unroll
            for (int i = 0; i < width; ++i) {
                const C part = step.one_minus_momentum * (g[i] * scale);
                m[i] = ::fma(step.momentum, m[i], part);
                d[i] = step.nesterov ? ::fma(step.momentum, m[i], part) : m[i];
                total = ::fma(static_cast<double>(d[i]), static_cast<double>(d[i]), total);
            }
            store(m, record.momentum + at);
        }
        store(d, direction + at);
    });
    total = reduce_block(total, Sum(), scratch);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

/// Divides each matrix by its norm. A direction of zeros stays so.
template <int N, class Record, class C, class X>
__global__ void __launch_bounds__(chunk_threads)
    normalize_matrices(const Chunk* chunks, const Record* records, std::int64_t count, const double* sums,
                       X* x) {
    __shared__ double scratch[chunk_threads / warp_size];
    const Chunk chunk = chunks[blockIdx.x];
    const std::int64_t parts = (count + chunk_size - 1) / chunk_size;
    double total = 0;
    for (std::int64_t i = threadIdx.x; i < parts; i += chunk_threads) total += sums[chunk.array * parts + i];
    const double norm = ::sqrt(reduce_block(total, Sum(), scratch));
    const C scale = static_cast<C>(1 / (norm > 1e-7 ? norm : 1e-7));
    X* const direction = x + chunk.array * count;
    for_each_pack<N>(chunk, count, records[chunk.array].is_aligned, [&](std::int64_t at, auto n) {
        C d[decltype(n)::value];
        load(direction + at, d);
#pragma unroll
        for (C& each : d) each *= scale;
        store(d, direction + at);
    });
}

/// Takes the steps.
template <int N, class Record, class C, class X>
__global__ void __launch_bounds__(chunk_threads)
    apply_matrices(const Chunk* chunks, const Record* records, std::int64_t count, const double* factor,
                   const X* x) {
    const Chunk chunk = chunks[blockIdx.x];
    const Record& record = records[chunk.array];
    if (!record.gradient || (factor && !(*factor == *factor))) return;
    const MuonStep<C> step = record.step;
    const auto weights = record.weights;
    const std::int64_t first = record.first;
    const X* const direction = x + chunk.array * count;
    for_each_pack<N>(chunk, count, record.is_aligned, [&](std::int64_t at, auto n) {
        C p[decltype(n)::value], d[decltype(n)::value];
        load_weights(weights, first + at, p);
        load(direction + at, d);
#pragma unroll
        for (int i = 0; i < decltype(n)::value; ++i) p[i] = ::fma(-step.rate, d[i], p[i] * step.keep);
        store_weights(p, weights, first + at);
    });
}

}  // namespace cuda

/// Matrices of one size go together, in batches. Directions are iterated in the type of gradients, or where
/// weights have 16 bits in bf16, as their author does.
template <>
struct Kernel<MuonUpdate, Cuda> {
    template <class T, class C, class Master>
    class Pass {
    public:
        using Entry = TrainedParameter<T, C, Master>;

        Pass() = default;
        explicit Pass(const std::vector<Entry*>& entries) {
            for (Entry* entry : entries) {
                const Matrices matrices = matrices_of(*entry->parameter);
                for (std::int64_t i = 0; i < matrices.count; ++i)
                    matrices_.push_back({entry, i, matrices.rows, matrices.columns});
            }
            std::stable_sort(matrices_.begin(), matrices_.end(), [](const Matrix& a, const Matrix& b) {
                return std::pair(a.rows, a.columns) < std::pair(b.rows, b.columns);
            });
            records_ = cuda::StagedTable<Record>(matrices_.size());
            for (std::size_t first = 0, last; first < matrices_.size(); first = last) {
                const Matrix& matrix = matrices_[first];
                const std::size_t most = std::max<std::int64_t>(1, batch_elements / matrix.count());
                for (last = first; last < matrices_.size() && last - first < most; ++last)
                    if (matrices_[last].rows != matrix.rows || matrices_[last].columns != matrix.columns)
                        break;
                batches_.push_back({first, last, cuda::Chunks(std::vector(last - first, matrix.count()))});
            }
        }

        template <class RuleOf>
        void prepare(const RuleOf& rule_of, Seed seed) {
            for (std::size_t i = 0; i < matrices_.size(); ++i) {
                const auto& [entry, number, rows, columns] = matrices_[i];
                Record& record = records_[i];
                record.gradient = nullptr;
                record.is_aligned = false;
                if (!entry->has_gradient) continue;
                record.weights = entry->weights(seed);
                record.first = number * rows * columns;
                record.gradient = entry->gradient() + record.first;
                record.momentum = entry->state(0) + record.first;
                // Part by part, then, too, and in random words and directions.
                record.is_aligned = rows * columns % 8 == 0 &&
                                    cuda::is_aligned<width>(record.weights.values) &&
                                    cuda::is_aligned<width>(record.weights.master) &&
                                    cuda::is_aligned<width>(record.gradient);
                record.step = rule_of(std::as_const(*entry));
                iterations_ = record.step.iterations;
            }
            records_.upload();
        }

        void run(Kernel<GradientNorm, Cuda>::Scale scale) {
            for (const Batch& batch : batches_) run(batch, scale.factor);
        }

    private:
        using Record = cuda::MatrixRecord<T, C, Master>;
        using X = std::conditional_t<is_half<T>, bf16, C>;
        static constexpr int width = Weights<T, Master>::is_stochastic ? rounding_group : 16 / sizeof(C);
        static constexpr std::int64_t batch_elements = std::int64_t{1} << 25;

        struct Matrix {
            Entry* entry;
            std::int64_t number, rows, columns;

            std::int64_t count() const { return rows * columns; }
        };
        struct Batch {
            std::size_t first, last;
            cuda::Chunks chunks;
        };

        void run(const Batch& batch, const double* factor) const {
            const auto has_gradient = [](const Matrix& matrix) { return matrix.entry->has_gradient; };
            const auto begin = matrices_.begin();
            if (std::none_of(begin + batch.first, begin + batch.last, has_gradient)) return;
            const Matrix& matrix = matrices_[batch.first];
            const auto size = static_cast<std::int64_t>(batch.last - batch.first);
            const std::int64_t count = matrix.count();
            const auto bytes = static_cast<std::size_t>(size * count) * sizeof(X);
            const Storage directions(Memory<Cuda>::allocate(bytes)), others(Memory<Cuda>::allocate(bytes)),
                sums(Memory<Cuda>::allocate(static_cast<std::size_t>(batch.chunks.count()) * sizeof(double)));
            X* const x = static_cast<X*>(directions.data());
            double* const squares = static_cast<double*>(sums.data());
            const Record* const records = records_.device() + batch.first;
            const auto launch = [&](auto* kernel, auto... arguments) {
                cuda::launch(kernel, batch.chunks.grid(), batch.chunks.device(), records, count,
                             arguments...);
            };
            launch(cuda::muon_directions<width, Record, C, X>, factor, x, squares);
            launch(cuda::normalize_matrices<width, Record, C, X>, squares, x);
            const X* const steps = cuda::newton_schulz(size, matrix.rows, matrix.columns, iterations_, x,
                                                       static_cast<X*>(others.data()));
            launch(cuda::apply_matrices<width, Record, C, X>, factor, steps);
        }

        std::vector<Matrix> matrices_;
        std::vector<Batch> batches_;
        cuda::StagedTable<Record> records_;
        int iterations_ = 0;
    };
};

}  // namespace tenon
