#pragma once

#include <concepts>
#include <cstdint>

#include <tenon/core/element.hpp>
#include <tenon/core/random.hpp>

namespace tenon {

/// Where an update reads and writes a parameter's elements, of type T: in the parameter's own memory; or in
/// the optimizer's master copy, of which the parameter is then the rounded image, unless it is of the
/// master's type itself: `values` is null then, and `master` its own memory; or, of 16 bits without such a
/// copy, in the parameter's memory with stochastic rounding, whose random numbers are those of a seed and a
/// stream, which differs from parameter to parameter and from step to step.
template <class T, class Master>
struct Weights {
    static constexpr bool has_master = !std::same_as<T, Master>;
    static constexpr bool is_stochastic = is_half<T> && !has_master;
    static_assert(!has_master || std::same_as<Master, ComputeOf<T>>,
                  "a master copy is of the type of arithmetic");
    static_assert(!is_stochastic || std::same_as<T, bf16>,
                  "f16 has no stochastic rounding here: its steps need a master copy");

    T* values = nullptr;
    Master* master = nullptr;
    std::uint64_t seed = 0, stream = 0;
};

/// Rounds to one of the two neighbours, up with a probability that is the share of the way there: by 16
/// random bits. What is not finite stays so.
TENON_HOST_DEVICE constexpr bf16 round_stochastically(float value, std::uint32_t random) {
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
    if ((bits & 0x7f800000u) == 0x7f800000u) return bf16(value);
    return __builtin_bit_cast(bf16, static_cast<std::uint16_t>((bits + (random & 0xffffu)) >> 16));
}

/// How many elements share a block of random words.
inline constexpr std::int64_t rounding_group = 8;

/// The random bits of element number i of such a group.
TENON_HOST_DEVICE constexpr std::uint32_t rounding_bits(const Philox::Block& block, int i) {
    return block.word[i / 2] >> (i % 2 * 16) & 0xffffu;
}

}  // namespace tenon
