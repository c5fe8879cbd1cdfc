#pragma once

#include <cstdint>

#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/reduce.cuh>
#include <tenon/inference/sampling.hpp>

namespace tenon {
namespace cuda {

/// A block draws from a row of logits. What the host's `sample` sorts is only searched here: by keys that
/// grow as the logits fall, and by weights in fixed point, whose sums no order of addition changes.
template <class T>
class RowSampler {
public:
    using Weight = unsigned long long;
    static constexpr int bins = 256;

    struct Shared {
        Weight scratch[warp_size], bin[bins], before;
        int found;
    };

    __device__ RowSampler(const T* logits, int count, double temperature, Shared& shared)
        : logits_(logits), count_(count), scale_(key_unit / temperature), shared_(shared) {
        C greatest = C(-__builtin_huge_val());
        each([&](int i) { greatest = logit(i) > greatest ? logit(i) : greatest; });
        greatest_ = reduce_block(greatest, Maximum(), reinterpret_cast<C*>(shared.scratch));
    }

    /// The first of the greatest logits.
    __device__ int first_greatest() const {
        Weight back = 0;
        each([&](int i) {
            const Weight own = static_cast<Weight>(count_ - i);
            if (logit(i) == greatest_ && own > back) back = own;
        });
        back = reduce_block(back, Maximum(), shared_.scratch);
        return back > 0 ? count_ - static_cast<int>(back) : 0;
    }

    __device__ int draw(int top_k, double top_p, double uniform) const {
        const auto weight = [](std::uint32_t key) { return weight_of(key); };
        const auto one = [](std::uint32_t) { return Weight{1}; };
        Weight kept = total([&](std::uint32_t key) { return weight(key); });
        if (top_k > 0 && top_k < count_) {
            const Place last = find_by_key(one, static_cast<Weight>(top_k - 1));
            kept = total([&](std::uint32_t key) { return key < last.key ? weight(key) : 0; }) +
                   (last.rest + 1) * weight(last.key);
        }
        if (top_p < 1 && kept > 0) {
            const auto goal = static_cast<Weight>(::ceil(top_p * static_cast<double>(kept)));
            const Place last = find_by_key(weight, goal > 0 ? goal - 1 : 0);
            kept = last.before + (last.rest / weight(last.key) + 1) * weight(last.key);
        }
        if (kept == 0) return first_greatest();
        auto target = static_cast<Weight>(uniform * static_cast<double>(kept));
        if (target >= kept) target = kept - 1;
        if (top_k == 0 && top_p >= 1) return find_by_number(weight, target);
        const Place drawn = find_by_key(weight, target);
        return find_by_number([&](std::uint32_t key) { return Weight{key == drawn.key}; },
                              drawn.rest / weight(drawn.key));
    }

private:
    using C = ComputeOf<T>;
    static constexpr double key_unit = 0x1p26;
    static constexpr std::uint32_t last_key = 0xffffffffu;

    /// A key; what lesser ones amount to, and how much further a target lies.
    struct Place {
        std::uint32_t key = 0;
        Weight before = 0, rest = 0;
    };

    __device__ C logit(int i) const { return convert<C>(logits_[i]); }

    /// How far a logit lies below the greatest, over the temperature, in fixed point.
    __device__ std::uint32_t key(int i) const {
        const double distance = static_cast<double>(greatest_) - static_cast<double>(logit(i)),
                     scaled = distance * scale_;
        if (distance == 0) return 0;
        return scaled < last_key ? static_cast<std::uint32_t>(scaled) : last_key;  // NaN: the last
    }

    /// exp(-distance) in fixed point: a million of them do not overflow.
    __device__ static Weight weight_of(std::uint32_t key) {
        if (key == last_key) return 0;
        return static_cast<Weight>(::exp(static_cast<float>(key) * static_cast<float>(-1 / key_unit)) *
                                   0x1p43f);
    }

    template <class Body>
    __device__ void each(const Body& body) const {
        for (int i = static_cast<int>(threadIdx.x); i < count_; i += static_cast<int>(blockDim.x)) body(i);
    }

    template <class Amount>
    __device__ Weight total(const Amount& amount) const {
        Weight sum = 0;
        each([&](int i) { sum += amount(key(i)); });
        return reduce_block(sum, Sum(), shared_.scratch);
    }

    /// Adds to shared memory by its halves, since it adds 32 bits at once only: who makes the lower half
    /// overflow carries.
    __device__ static void add(Weight* to, Weight amount) {
        auto* const halves = reinterpret_cast<unsigned*>(to);
        const auto low = static_cast<unsigned>(amount);
        auto high = static_cast<unsigned>(amount >> 32);
        if (low > 0) high += atomicAdd(halves, low) > ~low;
        if (high > 0) atomicAdd(halves + 1, high);
    }

    /// The sum of the values of a warp's lower lanes.
    __device__ static Weight sum_before(Weight value) {
        const int lane = static_cast<int>(threadIdx.x) % warp_size;
        Weight sum = value;
        for (int distance = 1; distance < warp_size; distance *= 2) {
            const Weight lower = __shfl_up_sync(0xffffffffu, sum, distance);
            if (lane >= distance) sum += lower;
        }
        return sum - value;
    }

    /// Where the amounts, added up in the order of the keys, exceed the target: digit by digit of the key.
    template <class Amount>
    __device__ Place find_by_key(const Amount& amount, Weight target) const {
        constexpr int digit = 8, bins_a_lane = bins / warp_size;
        Place place;
        for (int shift = 32 - digit; shift >= 0; shift -= digit) {
            __syncthreads();
            for (int i = static_cast<int>(threadIdx.x); i < bins; i += static_cast<int>(blockDim.x))
                shared_.bin[i] = 0;
            __syncthreads();
            const std::uint32_t known = shift == 32 - digit ? 0 : ~std::uint32_t{0} << (shift + digit);
            each([&](int i) {
                const std::uint32_t own = key(i);
                if ((own & known) == place.key) add(&shared_.bin[own >> shift & (bins - 1)], amount(own));
            });
            __syncthreads();
            if (threadIdx.x < warp_size) {
                const int first = static_cast<int>(threadIdx.x) * bins_a_lane;
                Weight sum = 0;
                for (int i = 0; i < bins_a_lane; ++i) sum += shared_.bin[first + i];
                Weight before = place.before + sum_before(sum);
                if (before <= target && target < before + sum) {
                    int i = first;
                    for (; target >= before + shared_.bin[i]; ++i) before += shared_.bin[i];
                    shared_.found = i;
                    shared_.before = before;
                }
            }
            __syncthreads();
            place.key |= static_cast<std::uint32_t>(shared_.found) << shift;
            place.before = shared_.before;
        }
        place.rest = target - place.before;
        return place;
    }

    /// The first number up to which the amounts exceed the target. Each thread has neighbouring ones.
    template <class Amount>
    __device__ int find_by_number(const Amount& amount, Weight target) const {
        const int threads = static_cast<int>(blockDim.x), each = (count_ + threads - 1) / threads,
                  first = static_cast<int>(threadIdx.x) * each,
                  end = first + each < count_ ? first + each : count_;
        const int warp = static_cast<int>(threadIdx.x) / warp_size,
                  lane = static_cast<int>(threadIdx.x) % warp_size;
        Weight sum = 0;
        for (int i = first; i < end; ++i) sum += amount(key(i));
        Weight before = sum_before(sum);
        __syncthreads();
        if (lane == warp_size - 1) shared_.scratch[warp] = before + sum;
        __syncthreads();
        for (int i = 0; i < warp; ++i) before += shared_.scratch[i];
        if (before <= target && target < before + sum) {
            int i = first;
            for (; target >= before + amount(key(i)); ++i) before += amount(key(i));
            shared_.found = i;
        }
        __syncthreads();
        return shared_.found;
    }

    const T* logits_;
    int count_;
    double scale_;
    C greatest_;
    Shared& shared_;
};

template <class T>
__global__ void sample_rows(const T* logits, int count, const SamplingOptions options, Seed seed,
                            const std::int64_t* position, std::int32_t* tokens) {
    __shared__ typename RowSampler<T>::Shared shared;
    const RowSampler<T> sampler(logits + static_cast<std::int64_t>(blockIdx.x) * count, count,
                                options.temperature, shared);
    const double uniform = Philox(seed, blockIdx.x).uniform(static_cast<std::uint64_t>(*position));
    const int token = options.temperature == 0 || options.top_k == 1
                          ? sampler.first_greatest()
                          : sampler.draw(options.top_k, options.top_p, uniform);
    if (threadIdx.x == 0) tokens[blockIdx.x] = token;
}

template <class Number>
__global__ void advance_sampling(Number* position) {
    ++*position;
}

}  // namespace cuda

template <>
struct Kernel<Sample, Cuda> {
    /// Row r draws number `*position` of stream r of the seed, as on the host but for the rounding of
    /// weights.
    template <class T>
    static void run(const T* logits, std::int64_t rows, int count, const SamplingOptions& options, Seed seed,
                    const std::int64_t* position, std::int32_t* tokens) {
        cuda::launch(cuda::sample_rows<T>, {static_cast<unsigned>(rows), 1024}, logits, count, options, seed,
                     position, tokens);
    }

    /// The next draw is of the next number.
    static void advance(std::int64_t* position) {
        cuda::launch(cuda::advance_sampling<std::int64_t>, {1, 1}, position);
    }
};

}  // namespace tenon
