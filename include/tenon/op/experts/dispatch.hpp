#pragma once

#include <algorithm>
#include <string>

#include <tenon/core/tensor.hpp>
#include <tenon/op/grouped_matmul/grouped_matmul.hpp>

namespace tenon {

/// The sorting of tokens by the experts that they are sent to: the counting sort, which keeps their order.
struct Dispatch {};

/// Where tokens lie when they are sorted by expert: rows of groups, one for each expert, as `grouped_matmul`
/// takes them. An assignment is one expert of one token: number token * k + i, where a token has k.
template <class Slots>
struct ExpertRows {
    using Device = typename Slots::device_type;
    using Numbers = Tensor<std::int32_t, Shape<dyn>, Device>;

    Numbers begins;   ///< [experts + 1]: where an expert's rows begin; multiples of `group_alignment`
    Slots slots;      ///< [tokens, k]: an assignment's row; -1: dropped
    Numbers sources;  ///< [rows]: a row's assignment; -1: none, the row only fills its group up
    Numbers load;     ///< [experts]: assignments, those that were dropped, too

    int tokens() const { return slots.extents()[0]; }
    int experts_per_token() const { return slots.extents()[1]; }
    int rows() const { return sources.extents()[0]; }
    int experts() const { return load.extents()[0]; }
};

/// What kernels of Dispatch are told. A capacity of 0 is none.
struct DispatchProblem {
    std::int64_t assignments;
    int experts, capacity, alignment;
    std::int64_t rows;

    TENON_HOST_DEVICE int kept(int assigned) const {
        return capacity > 0 && assigned > capacity ? capacity : assigned;
    }
    /// Rows of a group that holds so many assignments.
    TENON_HOST_DEVICE int aligned(int assigned) const {
        return (assigned + alignment - 1) / alignment * alignment;
    }
};

namespace detail {

/// The most rows that assignments may take, whichever experts they are to: known before they are.
constexpr std::int64_t most_expert_rows(std::int64_t assignments, int experts, int capacity, int alignment) {
    if (capacity > 0) assignments = std::min(assignments, std::int64_t{capacity} * experts);
    const std::int64_t rows = assignments + std::min<std::int64_t>(experts, assignments) * (alignment - 1);
    return rows / alignment * alignment;
}

}  // namespace detail

/// Sorts tokens by the experts [tokens, k] that they are sent to, from 0 on below `experts`. With a capacity,
/// an expert takes so many assignments, the first in the order of the tokens, and drops the others. Throws
/// Error where an expert's number is out of range, ShapeError where there are more rows than 32 bits say.
template <TensorLike Chosen>
auto dispatch(const Chosen& chosen, int experts, int capacity = 0) {
    using D = typename Chosen::device_type;
    static_assert(
        std::same_as<typename Chosen::value_type, std::int32_t> && Chosen::is_packed && Chosen::rank == 2,
        "dispatch takes packed 32-bit integers [tokens, k]");
    if (experts < 0 || capacity < 0)
        throw ShapeError("dispatch: expected no negative number of experts, and no negative capacity, got " +
                         std::to_string(experts) + " and " + std::to_string(capacity));
    constexpr int alignment = group_alignment<D>;
    const std::int64_t rows = detail::most_expert_rows(chosen.size(), experts, capacity, alignment);
    if (rows > 0x7fffffff || chosen.size() > 0x7fffffff)
        throw ShapeError("dispatch: expected less than 2^31 rows, got " + std::to_string(rows));
    using Slots = Tensor<std::int32_t, typename Chosen::shape_type, D>;
    using Rows = ExpertRows<Slots>;
    using Numbers = typename Rows::Numbers;
    Rows result{Numbers::uninitialized(experts + 1), Slots::with_extents(chosen.extents()),
                Numbers::uninitialized(static_cast<int>(rows)), Numbers::uninitialized(experts)};
    Kernel<Dispatch, D>::run(DispatchProblem{chosen.size(), experts, capacity, alignment, rows},
                             chosen.data(), result.begins.data(), result.slots.data(), result.sources.data(),
                             result.load.data());
    return result;
}

/// How often each expert was chosen, of the tokens [tokens, k] of each of so many sequences: [sequences,
/// experts], of type C. Throws ShapeError where the tokens are not those of as many sequences.
template <Real C, TensorLike Chosen>
auto count_experts(const Chosen& chosen, int experts, int sequences = 1) {
    using D = typename Chosen::device_type;
    if (sequences < 1 || chosen.extents()[0] % sequences != 0)
        throw ShapeError("count_experts: expected a number of sequences that divides " +
                         std::to_string(chosen.extents()[0]) + " tokens, got " + std::to_string(sequences));
    auto counts = Tensor<C, Shape<dyn, dyn>, D>::uninitialized(sequences, experts);
    Kernel<Dispatch, D>::count(chosen.data(), sequences, chosen.size() / sequences, experts, counts.data());
    return counts;
}

}  // namespace tenon
