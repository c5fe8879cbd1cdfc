#pragma once

#include <cstdint>

#include <tenon/core/extents.hpp>

namespace tenon::cuda {

/// Divides by a number that is known before the launch, by a product instead (Granlund, Montgomery 1994,
/// "Division by invariant integers using multiplication").
class Divisor {
public:
    Divisor() = default;
    explicit Divisor(std::int64_t divisor) : divisor_(static_cast<std::uint32_t>(divisor)) {
        while ((std::uint64_t{1} << shift_) < divisor_) ++shift_;
        const std::uint64_t excess = (std::uint64_t{1} << shift_) - divisor_;
        factor_ = static_cast<std::uint32_t>((excess << 32) / divisor_ + 1);
    }

    TENON_HOST_DEVICE std::uint32_t value() const { return divisor_; }

    /// Divides `number`, and returns what remains.
    __device__ __forceinline__ std::int64_t divide(std::int64_t& number) const {
        const std::int64_t whole = number;
        number =
            whole < std::int64_t{1} << 31 ? below_2_31(static_cast<std::uint32_t>(whole)) : whole / divisor_;
        return whole - number * divisor_;
    }

private:
    __device__ __forceinline__ std::uint32_t below_2_31(std::uint32_t number) const {
        return (__umulhi(number, factor_) + number) >> shift_;
    }

    std::uint32_t divisor_ = 1, factor_ = 1;
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
        if (length <= 1) return;
        const std::int64_t steps[] = {each...};
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
