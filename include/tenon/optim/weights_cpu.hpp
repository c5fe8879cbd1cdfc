#pragma once

#include <concepts>
#include <cstdint>

#include <tenon/core/packet.hpp>
#include <tenon/optim/weights.hpp>

namespace tenon::detail {

/// The first `lanes` elements, in the type of computation.
template <class V, class T>
V load_elements(const T* from, int lanes) {
    using C = typename V::Scalar;
    if constexpr (std::same_as<T, C>) {
        return V::load_partial(from, lanes);
    } else {
        C numbers[V::size] = {};
        for (int i = 0; i < lanes; ++i) numbers[i] = convert<C>(from[i]);
        return V::load(numbers);
    }
}

/// The first `lanes` weights from `at` on.
template <class V, class T, class Master>
V load_weights(const Weights<T, Master>& weights, std::int64_t at, int lanes) {
    if constexpr (Weights<T, Master>::has_master)
        return V::load_partial(weights.master + at, lanes);
    else
        return load_elements<V>(weights.values + at, lanes);
}

/// Writes the first `lanes` weights from `at` on.
template <class V, class T, class Master>
void store_weights(V x, const Weights<T, Master>& weights, std::int64_t at, int lanes) {
    using C = typename V::Scalar;
    if constexpr (Weights<T, Master>::has_master || Weights<T, Master>::is_stochastic) {
        C numbers[V::size];
        x.store(numbers);
        if constexpr (Weights<T, Master>::has_master) {
            x.store_partial(weights.master + at, lanes);
            if (weights.values)
                for (int i = 0; i < lanes; ++i) weights.values[at + i] = convert<T>(numbers[i]);
        } else {
            const Philox random(Seed{weights.seed}, weights.stream);
            Philox::Block block{};
            for (int i = 0; i < lanes; ++i) {
                const int place = static_cast<int>((at + i) % rounding_group);
                if (i == 0 || place == 0)
                    block = random(static_cast<std::uint64_t>((at + i) / rounding_group));
                weights.values[at + i] = round_stochastically(numbers[i], rounding_bits(block, place));
            }
        }
    } else {
        x.store_partial(weights.values + at, lanes);
    }
}

}  // namespace tenon::detail
