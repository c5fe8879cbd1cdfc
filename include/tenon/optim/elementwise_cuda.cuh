#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/pack.cuh>
#include <tenon/optim/chunks.cuh>
#include <tenon/optim/norm_cuda.cuh>
#include <tenon/optim/optimizer.hpp>
#include <tenon/optim/staged_table.cuh>
#include <tenon/optim/weights_cuda.cuh>

namespace tenon {
namespace cuda {

/// A number as steps compute with it: sums of products are rounded once, as on the CPU.
template <class C>
struct Lane {
    C value;

    __device__ Lane(C value) : value(value) {}
    __device__ Lane() {}

    friend __device__ Lane operator*(Lane a, Lane b) { return a.value * b.value; }
    friend __device__ Lane operator/(Lane a, Lane b) { return a.value / b.value; }
    friend __device__ Lane operator-(Lane a) { return -a.value; }
    friend __device__ bool operator<(Lane a, Lane b) { return a.value < b.value; }
    friend __device__ bool operator>(Lane a, Lane b) { return a.value > b.value; }
    friend __device__ Lane sqrt(Lane a) { return ::sqrt(a.value); }
    friend __device__ Lane fma(Lane a, Lane b, Lane c) { return ::fma(a.value, b.value, c.value); }
    friend __device__ Lane select(bool condition, Lane yes, Lane no) { return condition ? yes : no; }
};

/// The numbers of a parameter's update. With a scale of the loss, which leaves steps out, only the device
/// knows how many it has had; it makes the numbers then.
template <class Rule, bool is_made_here = false>
struct MadeStep {
    StepOf<Rule> step;

    template <class Entry>
    void set(const Rule& rule, const Entry& entry) {
        step = step_of(rule, entry.updates);
    }
};
template <class Rule>
struct MadeStep<Rule, true> {
    StepOf<Rule> step;
    Rule rule;
    const std::int64_t* updates;

    template <class Entry>
    void set(const Rule& made_by, const Entry& entry) {
        rule = made_by;
        updates = entry.counted;
    }
};

/// A parameter a thread.
template <class Record>
__global__ void make_steps(Record* records, std::int64_t count) {
    const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i < count && records[i].gradient) records[i].step = step_of(records[i].rule, *records[i].updates);
}

/// Counts the updates of what has gradients, unless the step is left out.
template <class Count>
__global__ void count_updates(const Count* has_gradient, std::int64_t count, const double* factor,
                              Count* updates) {
    const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i < count && *factor == *factor) updates[i] += has_gradient[i];
}

/// All that the update of one parameter needs.
template <class Rule, class T, class C, class Master>
struct UpdateRecord : MadeStep<Rule, std::same_as<T, f16>> {
    static constexpr int states = StepOf<Rule>::state_count;

    Weights<T, Master> weights;
    const C* gradient;  // null: none at this step
    C* state[states == 0 ? 1 : states];
    std::int64_t count;
    bool is_aligned;

    template <int N>
    __device__ __forceinline__ void update(std::int64_t at, C factor) const {
        C p[N], g[N], s[states == 0 ? 1 : states][N];
        load_weights(weights, at, p);
        load(gradient + at, g);
#pragma unroll
        for (int k = 0; k < states; ++k) load(state[k] + at, s[k]);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            Lane<C> weight = p[i], lanes[states == 0 ? 1 : states];
#pragma unroll
            for (int k = 0; k < states; ++k) lanes[k] = s[k][i];
            this->step(weight, Lane<C>(g[i] * factor), lanes);
            p[i] = weight.value;
#pragma unroll
            for (int k = 0; k < states; ++k) s[k][i] = lanes[k].value;
        }
#pragma unroll
        for (int k = 0; k < states; ++k) store(s[k], state[k] + at);
        store_weights(p, weights, at);
    }
};

/// One block a chunk.
template <class Record, class C, int N>
__global__ void __launch_bounds__(chunk_threads)
    update_elements(const Chunk* chunks, const Record* records, const double* factor) {
    const Chunk chunk = chunks[blockIdx.x];
    const Record record = records[chunk.array];
    if (!record.gradient) return;
    const C scale = factor ? static_cast<C>(*factor) : C(1);
    if (!(scale == scale)) return;
    for_each_pack<N>(chunk, record.count, record.is_aligned,
                     [&](std::int64_t at, auto n) { record.template update<decltype(n)::value>(at, scale); });
}

/// Makes the numbers of a table's records where that is left to the device.
template <class T, class Record>
void make_steps_of(const StagedTable<Record>& records) {
    if constexpr (std::same_as<T, f16>)
        launch(make_steps<Record>, records.grid(), records.device(), records.size());
}

template <class From, class To>
__global__ void copy_elements(const From* from, std::int64_t count, To* to) {
    const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride)
        to[i] = convert<To>(from[i]);
}

}  // namespace cuda

template <>
struct Kernel<ElementwiseUpdate, Cuda> {
    template <class Rule, class T, class C, class Master>
    class Pass {
    public:
        using Entry = TrainedParameter<T, C, Master>;

        Pass() = default;
        explicit Pass(std::vector<Entry*> entries) : entries_(std::move(entries)), records_(entries_.size()) {
            std::vector<std::int64_t> counts;
            for (const Entry* entry : entries_) counts.push_back(entry->size());
            chunks_ = cuda::Chunks(counts);
        }

        template <class RuleOf>
        void prepare(const RuleOf& rule_of, Seed seed) {
            for (std::size_t i = 0; i < entries_.size(); ++i) {
                const Entry& entry = *entries_[i];
                Record& record = records_[i];
                record.gradient = entry.has_gradient ? entry.gradient() : nullptr;
                if (!record.gradient) continue;
                record.weights = entry.weights(seed);
                record.count = entry.size();
                record.is_aligned = is_aligned(entry.gradient()) && is_aligned(record.weights.values) &&
                                    is_aligned(record.weights.master);
                for (std::size_t k = 0; k < entry.states.size(); ++k) record.state[k] = entry.state(k);
                record.set(rule_of(entry), entry);
            }
            records_.upload();
        }

        void run(Kernel<GradientNorm, Cuda>::Scale scale) {
            cuda::make_steps_of<T>(records_);
            cuda::launch(cuda::update_elements<Record, C, width>, chunks_.grid(), chunks_.device(),
                         records_.device(), scale.factor);
        }

    private:
        using Record = cuda::UpdateRecord<Rule, T, C, Master>;
        // Elements at once: 16 bytes of gradients, or what shares random words.
        static constexpr int width = Weights<T, Master>::is_stochastic ? rounding_group : 16 / sizeof(C);

        template <class X>
        static bool is_aligned(const X* data) {
            return cuda::is_aligned<width>(data);
        }

        std::vector<Entry*> entries_;
        cuda::StagedTable<Record> records_;
        cuda::Chunks chunks_;
    };

    template <class Entry, class T>
    class Counts {
    public:
        Counts() = default;
        explicit Counts(std::vector<Entry>& entries) {
            if (!on_device || entries.empty()) return;
            has_gradient_ = cuda::StagedTable<std::int64_t>(entries.size());
            updates_ = Storage(Memory<Cuda>::allocate(entries.size() * sizeof(std::int64_t)));
            auto* const updates = static_cast<std::int64_t*>(updates_.data());
            Memory<Cuda>::fill(updates, static_cast<std::int64_t>(entries.size()), std::int64_t{0});
            for (std::size_t i = 0; i < entries.size(); ++i) entries[i].counted = updates + i;
        }

        void prepare(const std::vector<Entry>& entries) {
            if constexpr (on_device) {
                for (std::size_t i = 0; i < entries.size(); ++i) has_gradient_[i] = entries[i].has_gradient;
                has_gradient_.upload();
            }
        }
        void run(Kernel<GradientNorm, Cuda>::Scale scale) {
            if constexpr (on_device)
                cuda::launch(cuda::count_updates<std::int64_t>, has_gradient_.grid(), has_gradient_.device(),
                             has_gradient_.size(), scale.factor, static_cast<std::int64_t*>(updates_.data()));
        }
        /// The count of a parameter, in the device's memory or the host's.
        static std::int64_t* of(Entry& entry) { return on_device ? entry.counted : &entry.updates; }

    private:
        static constexpr bool on_device = std::same_as<T, f16>;

        cuda::StagedTable<std::int64_t> has_gradient_;
        Storage updates_;
    };

    /// Elements in another type.
    template <class From, class To>
    static void copy(const From* from, std::int64_t count, To* to) {
        cuda::launch(cuda::copy_elements<From, To>, {cuda::blocks_for(count, 1024, 4096), 256}, from, count,
                     to);
    }
};

}  // namespace tenon
