#pragma once

#include <cmath>

#include <tenon/core/parallel.hpp>
#include <tenon/core/random.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {
namespace detail {

template <class T>
void fill_truncated_normal(T* to, std::int64_t count, double deviation, const Philox& random) {
    parallel_for(count, 4096, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i)
            to[i] = static_cast<T>(deviation * random.truncated_normal(static_cast<std::uint64_t>(i)));
    });
}

template <class T>
void initialize_parameter(const ParameterBase& parameter, const Philox& random) {
    T* to = static_cast<T*>(parameter.data);
    switch (parameter.role) {
        case Role::gain:
            std::fill_n(to, parameter.size(), T(1));
            break;
        case Role::embedding:
            fill_truncated_normal(to, parameter.size(), 1.0, random);
            break;
        case Role::matrix:
        case Role::head:
            fill_truncated_normal(to, parameter.size(),
                                  std::sqrt(2.0 / (parameter.extents[0] + parameter.extents[1])), random);
            break;
    }
}

}  // namespace detail

/// CS336's initializers: matrices normal with variance 2 / (in + out), embeddings with variance 1, both
/// truncated at three standard deviations; gains are 1. Parameter number i draws from stream i of the seed,
/// so the values do not depend on the number of threads.
template <class Model>
void initialize(Model& model, Seed seed) {
    std::uint64_t stream = 0;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        detail::initialize_parameter<typename Model::Value>(parameter, Philox(seed, stream++));
    });
}

}  // namespace tenon
