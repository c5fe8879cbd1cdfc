#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce.cuh>
#include <tenon/optim/adafactor.hpp>
#include <tenon/optim/chunks.cuh>
#include <tenon/optim/elementwise_cuda.cuh>
#include <tenon/optim/norm_cuda.cuh>
#include <tenon/optim/staged_table.cuh>
#include <tenon/optim/weights_cuda.cuh>

namespace tenon {
namespace cuda {

/// What the update of one parameter needs. Of one that is no matrix, `rows` is 0.
template <class T, class C, class Master>
struct AdafactorRecord : MadeStep<AdafactorRule<C>, std::same_as<T, f16>> {
    Weights<T, Master> weights;
    const C* gradient;  // null: none at this step
    C *row_moment, *column_moment, *second_moment;
    C *row_scale, *column_scale;  // 1 over the roots of the moments, those of rows times that of their mean
    C* column_sums;               // for each `adafactor_rows` rows of a matrix
    std::int64_t matrices, rows, columns, count;
    std::int64_t first_chunk, chunks;  // of its elements

    /// The direction of an element.
    __device__ C direction(std::int64_t at, C scale) const {
        const C g = gradient[at] * scale;
        if (rows == 0) return g / ::sqrt(second_moment[at]);
        const std::int64_t row = at / columns;
        return g * row_scale[row] * column_scale[row / rows * columns + (at - row * columns)];
    }
    /// Whether there is a step; not where there is no gradient, or where all are to be left out.
    __device__ bool is_active(C scale) const { return gradient && scale == scale; }
};

/// Rows whose columns one block adds up, and columns.
inline constexpr std::int64_t adafactor_rows = 64, adafactor_columns = 256;

template <class C>
__device__ __forceinline__ C scale_of(const double* factor) {
    return factor ? static_cast<C>(*factor) : C(1);
}

/// The moments of rows: a warp a row. Chunks are of `warps` rows of a parameter.
template <class Record, class C>
__global__ void update_row_moments(const Chunk* chunks, const Record* records, const double* factor) {
    const Chunk chunk = chunks[blockIdx.x];
    const Record& record = records[chunk.array];
    const C scale = scale_of<C>(factor);
    const std::int64_t warps = blockDim.x / warp_size, row = chunk.part * warps + threadIdx.x / warp_size;
    if (!record.is_active(scale) || row >= record.matrices * record.rows) return;
    C sum = 0;
    for (std::int64_t j = threadIdx.x % warp_size; j < record.columns; j += warp_size) {
        const C g = record.gradient[row * record.columns + j] * scale;
        sum = ::fma(g, g, sum);
    }
    sum = reduce_warp(sum, Sum());
    if (threadIdx.x % warp_size != 0) return;
    const C mean = sum / static_cast<C>(record.columns) + record.step.epsilon;
    record.row_moment[row] =
        ::fma(record.step.beta, record.row_moment[row], record.step.one_minus_beta * mean);
}

/// Adds squares up along the columns, for some rows and columns of a matrix a block.
template <class Record, class C>
__global__ void add_columns(const Chunk* chunks, const Record* records, const double* factor) {
    const Chunk chunk = chunks[blockIdx.x];
    const Record& record = records[chunk.array];
    const C scale = scale_of<C>(factor);
    const std::int64_t strips = (record.columns + adafactor_columns - 1) / adafactor_columns;
    const std::int64_t blocks = (record.rows + adafactor_rows - 1) / adafactor_rows;
    const std::int64_t strip = chunk.part % strips,
                       group = chunk.part / strips;  // the matrix's blocks of rows
    const std::int64_t j = strip * adafactor_columns + threadIdx.x;
    if (!record.is_active(scale) || j >= record.columns) return;
    const std::int64_t matrix = group / blocks, first = group % blocks * adafactor_rows;
    const std::int64_t last = first + adafactor_rows < record.rows ? first + adafactor_rows : record.rows;
    C sum = 0;
    for (std::int64_t i = first; i < last; ++i) {
        const C g = record.gradient[(matrix * record.rows + i) * record.columns + j] * scale;
        sum = ::fma(g, g, sum);
    }
    record.column_sums[group * record.columns + j] = sum;
}

/// The moments of columns, and what they scale by. Chunks are of columns of a parameter, all matrices
/// together.
template <class Record, class C>
__global__ void update_column_moments(const Chunk* chunks, const Record* records, const double* factor) {
    const Chunk chunk = chunks[blockIdx.x];
    const Record& record = records[chunk.array];
    const std::int64_t column = chunk.part * adafactor_columns + threadIdx.x;
    if (!record.is_active(scale_of<C>(factor)) || column >= record.matrices * record.columns) return;
    const std::int64_t blocks = (record.rows + adafactor_rows - 1) / adafactor_rows;
    const std::int64_t matrix = column / record.columns, j = column % record.columns;
    double sum = 0;
    for (std::int64_t block = 0; block < blocks; ++block)
        sum += static_cast<double>(record.column_sums[(matrix * blocks + block) * record.columns + j]);
    const C mean = static_cast<C>(sum / static_cast<double>(record.rows)) + record.step.epsilon;
    const C moment = ::fma(record.step.beta, record.column_moment[column], record.step.one_minus_beta * mean);
    record.column_moment[column] = moment;
    record.column_scale[column] = C(1) / ::sqrt(moment);
}

/// What the moments of rows scale by. A block a matrix.
template <class Record, class C>
__global__ void scale_rows(const Chunk* chunks, const Record* records, const double* factor) {
    __shared__ double scratch[chunk_threads / warp_size];
    const Chunk chunk = chunks[blockIdx.x];
    const Record& record = records[chunk.array];
    if (!record.is_active(scale_of<C>(factor))) return;
    const std::int64_t first = chunk.part * record.rows, last = first + record.rows;
    double total = 0;
    for (std::int64_t row = first + threadIdx.x; row < last; row += blockDim.x)
        total += static_cast<double>(record.row_moment[row]);
    const double mean = reduce_block(total, Sum(), scratch) / static_cast<double>(record.rows);
    for (std::int64_t row = first + threadIdx.x; row < last; row += blockDim.x)
        record.row_scale[row] = static_cast<C>(::sqrt(mean / static_cast<double>(record.row_moment[row])));
}

/// Two sums of a chunk's elements: of the steps' squares, and of the parameter's.
struct AdafactorSums {
    double steps, values;
};

/// Moves the second moments of what is no matrix, and adds up the squares of each chunk.
template <class Record, class C>
__global__ void __launch_bounds__(chunk_threads)
    add_steps(const Chunk* chunks, const Record* records, const double* factor, AdafactorSums* sums) {
    __shared__ double scratch[chunk_threads / warp_size];
    const Chunk chunk = chunks[blockIdx.x];
    const Record record = records[chunk.array];
    const C scale = scale_of<C>(factor);
    if (!record.is_active(scale)) return;
    double steps = 0, values = 0;
    for_each_pack<1>(chunk, record.count, true, [&](std::int64_t at, auto) {
        if (record.rows == 0) {
            const C g = record.gradient[at] * scale;
            const C added = record.step.one_minus_beta * ::fma(g, g, record.step.epsilon);
            record.second_moment[at] = ::fma(record.step.beta, record.second_moment[at], added);
        }
        C p[1];
        load_weights(record.weights, at, p);
        const auto step = static_cast<double>(record.direction(at, scale)), value = static_cast<double>(p[0]);
        steps = ::fma(step, step, steps);
        values = ::fma(value, value, values);
    });
    steps = reduce_block(steps, Sum(), scratch);
    values = reduce_block(values, Sum(), scratch);
    if (threadIdx.x == 0) sums[blockIdx.x] = {steps, values};
}

/// Takes the steps. Each block works out the rate with all that scales it.
template <class Record, class C>
__global__ void __launch_bounds__(chunk_threads)
    apply_steps(const Chunk* chunks, const Record* records, const double* factor, const AdafactorSums* sums) {
    __shared__ double scratch[chunk_threads / warp_size];
    const Chunk chunk = chunks[blockIdx.x];
    const Record record = records[chunk.array];
    const C scale = scale_of<C>(factor);
    if (!record.is_active(scale)) return;
    double steps = 0, values = 0;
    for (std::int64_t i = threadIdx.x; i < record.chunks; i += chunk_threads) {
        steps += sums[record.first_chunk + i].steps;
        values += sums[record.first_chunk + i].values;
    }
    const auto count = static_cast<double>(record.count);
    const double step_size = ::sqrt(reduce_block(steps, Sum(), scratch) / count);
    const double value_size = ::sqrt(reduce_block(values, Sum(), scratch) / count);
    double rate = record.step.rate / ::fmax(1.0, step_size / record.step.threshold);
    if (record.step.least_scale >= 0) rate *= ::fmax(record.step.least_scale, value_size);
    const C negative = -static_cast<C>(rate);
    for_each_pack<1>(chunk, record.count, true, [&](std::int64_t at, auto) {
        C p[1];
        load_weights(record.weights, at, p);
        p[0] = ::fma(negative, record.direction(at, scale), p[0] * record.step.keep);
        store_weights(p, record.weights, at);
    });
}

}  // namespace cuda

/// Six launches for all parameters: four for the moments of matrices, then sums of squares, then the steps.
template <>
struct Kernel<AdafactorUpdate, Cuda> {
    template <class T, class C, class Master>
    class Pass {
    public:
        using Entry = TrainedParameter<T, C, Master>;

        Pass() = default;
        explicit Pass(std::vector<Entry*> entries) : entries_(std::move(entries)), records_(entries_.size()) {
            std::vector<std::int64_t> elements, rows, tiles, columns, matrices;
            std::int64_t scratch = 0, chunks = 0;
            for (std::size_t i = 0; i < entries_.size(); ++i) {
                const Matrices m = matrices_of(*entries_[i]->parameter);
                Record& record = records_[i];
                record.matrices = m.count, record.rows = m.rows, record.columns = m.columns;
                record.count = entries_[i]->size();
                record.first_chunk = chunks;
                record.chunks = (record.count + cuda::chunk_size - 1) / cuda::chunk_size;
                chunks += record.chunks;
                const std::int64_t groups = m.count * parts(m.rows, cuda::adafactor_rows);
                elements.push_back(record.count);
                rows.push_back(m.count * m.rows);
                tiles.push_back(groups * parts(m.columns, cuda::adafactor_columns));
                columns.push_back(m.count * m.columns);
                matrices.push_back(m.count);
                scratch += m.count * (m.rows + m.columns) + groups * m.columns;
            }
            elements_ = cuda::Chunks(elements);
            rows_ = cuda::Chunks(rows, cuda::chunk_threads / cuda::warp_size);
            tiles_ = cuda::Chunks(tiles, 1);
            columns_ = cuda::Chunks(columns, cuda::adafactor_columns);
            matrices_ = cuda::Chunks(matrices, 1);
            scratch_ = allocated<C>(scratch);
            sums_ = allocated<cuda::AdafactorSums>(chunks);
        }

        template <class RuleOf>
        void prepare(const RuleOf& rule_of, Seed seed) {
            C* scratch = static_cast<C*>(scratch_.data());
            const auto take = [&](std::int64_t count) { return std::exchange(scratch, scratch + count); };
            for (std::size_t i = 0; i < entries_.size(); ++i) {
                const Entry& entry = *entries_[i];
                Record& record = records_[i];
                record.gradient = entry.has_gradient ? entry.gradient() : nullptr;
                if (record.gradient) {
                    record.weights = entry.weights(seed);
                    record.set(rule_of(entry), entry);
                }
                if (record.matrices == 0) {
                    record.second_moment = entry.state(0);
                    continue;
                }
                record.row_moment = entry.state(0);
                record.column_moment = entry.state(1);
                record.row_scale = take(record.matrices * record.rows);
                record.column_scale = take(record.matrices * record.columns);
                record.column_sums =
                    take(record.matrices * parts(record.rows, cuda::adafactor_rows) * record.columns);
            }
            records_.upload();
        }

        void run(Kernel<GradientNorm, Cuda>::Scale scale) {
            auto* const sums = static_cast<cuda::AdafactorSums*>(sums_.data());
            const auto launch = [&](auto* kernel, const cuda::Chunks& chunks, auto... arguments) {
                cuda::launch(kernel, chunks.grid(), chunks.device(), records_.device(), scale.factor,
                             arguments...);
            };
            cuda::make_steps_of<T>(records_);
            launch(cuda::update_row_moments<Record, C>, rows_);
            launch(cuda::add_columns<Record, C>, tiles_);
            launch(cuda::update_column_moments<Record, C>, columns_);
            launch(cuda::scale_rows<Record, C>, matrices_);
            launch(cuda::add_steps<Record, C>, elements_, sums);
            launch(cuda::apply_steps<Record, C>, elements_, sums);
        }

    private:
        using Record = cuda::AdafactorRecord<T, C, Master>;
        static_assert(cuda::adafactor_columns == cuda::chunk_threads);

        static std::int64_t parts(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }
        template <class X>
        static Storage allocated(std::int64_t count) {
            return Storage(Memory<Cuda>::allocate(static_cast<std::size_t>(count) * sizeof(X)));
        }

        std::vector<Entry*> entries_;
        cuda::StagedTable<Record> records_;
        cuda::Chunks elements_, rows_, tiles_, columns_, matrices_;
        Storage scratch_, sums_;
    };
};

}  // namespace tenon
