#pragma once

#include <cstdint>

#include <tenon/core/extents.hpp>

namespace tenon::cuda {

/// Divides by a number that is known before the launch, by a product instead (Granlund, Montgomery 1994,
/// "Division by invariant integers using multiplication").
class Divisor {
public:
    Divisor() = default;
    explicit Divisor(std::int64_t divisor) : divisor_(divisor) {
        while (std::int64_t{1} << shift_ < divisor) ++shift_;
        // factor_: 2^64 (2^shift - divisor) / divisor, bit by bit.
        const auto unsigned_divisor = static_cast<std::uint64_t>(divisor);
        std::uint64_t rest = (std::uint64_t{1} << shift_) - unsigned_divisor;
        for (int bit = 0; bit < 64; ++bit) {
            rest *= 2;
            factor_ *= 2;
            if (rest < unsigned_divisor) continue;
            rest -= unsigned_divisor;
            ++factor_;
        }
        if (divisor >= limit) narrow_below_ = 0;
    }

    TENON_HOST_DEVICE std::int64_t value() const { return divisor_; }

    /// Divides `number`, and returns what remains.
    __device__ __forceinline__ std::int64_t divide(std::int64_t& number) const {
        const std::int64_t whole = number;
        if (whole < narrow_below_) {
            const auto narrow = static_cast<std::uint32_t>(whole),
                       factor = static_cast<std::uint32_t>(factor_ >> 32) + 1;
            number = (__umulhi(narrow, factor) + narrow) >> shift_;
        } else {
            const auto wide = static_cast<std::uint64_t>(whole);
            number = static_cast<std::int64_t>((__umul64hi(wide, factor_ + 1) + wide) >> shift_);
        }
        return whole - number * divisor_;
    }

private:
    static constexpr std::int64_t limit = std::int64_t{1} << 31;

    std::int64_t divisor_ = 1, narrow_below_ = limit;
    std::uint64_t factor_ = 0;
    int shift_ = 0;
};

/// Where the elements of several strided arrays of the same extents lie, by their number in row-major order.
/// Axes that lie side by side in all arrays are joined, so that few are left.
template <int arrays>
struct IndexSpace {
    int rank = 0;
    Divisor extent[max_rank];
    std::int64_t step[arrays][max_rank] = {};

    /// The next axis, inside of those that are there; a step for each array, in elements.
    template <class... Step>
        requires(sizeof...(Step) == arrays)
    void append(std::int64_t length, Step... each) {
        const std::int64_t steps[] = {each...};
        append(length, steps);
    }
    void append(std::int64_t length, const std::int64_t (&steps)[arrays]) {
        if (length <= 1) return;
        bool joins = rank > 0 && extent[rank - 1].value() * length < std::int64_t{1} << 31;
        for (int i = 0; i < arrays; ++i) joins = joins && step[i][rank - 1] == steps[i] * length;
        if (!joins) ++rank;
        extent[rank - 1] = Divisor(joins ? extent[rank - 1].value() * length : length);
        for (int i = 0; i < arrays; ++i) step[i][rank - 1] = steps[i];
    }

    /// Where element `number` lies in each array.
    struct Offsets {
        std::int64_t in[arrays];
    };
    __device__ __forceinline__ Offsets offsets(std::int64_t number) const {
        Offsets result{};
        const auto add = [&](int axis, std::int64_t index) {
#pragma unroll
            for (int i = 0; i < arrays; ++i) result.in[i] += index * step[i][axis];
        };
#pragma unroll 1
        for (int axis = rank - 1; axis > 0; --axis) add(axis, extent[axis].divide(number));
        if (rank > 0) add(0, number);
        return result;
    }
};

/// A thread's number in a launch of one dimension.
__device__ __forceinline__ std::int64_t thread_number() {
    return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

}  // namespace tenon::cuda
