#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <tenon/core/random.hpp>
#include <tenon/nn/features.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {

/// How the parameters of a model begin: gains as 1, biases as 0, all else normal, with a variance that is
/// - cs336: 1 for embeddings, 2 / (in + out) for matrices; truncated at three standard deviations;
/// - gpt2 (Radford et al. 2019, and the code released with it): 0.02², for positions 0.01², and for matrices
///   whose result is added to the residual 0.02² over the number of these.
struct InitializerOptions {
    Initializer kind = Initializer::cs336;
    int depth = 1;  ///< the number of blocks
    /// If positive, the variances are muP's (Yang et al. 2022, "Tensor programs V", table 8): at this width
    /// those above; at others, matrices' fall as 1 / width, and the rest stay.
    int base_width = 0;
    int width = 0;
};

/// Names the drawing of first values where kernels are declared.
struct Initialize {};

/// Normal numbers with this deviation: element i is made from block i of the stream, on every device alike.
struct NormalElements {
    double deviation;
    bool is_truncated;  // at three standard deviations
    Seed seed;
    std::uint64_t stream;

    template <class T>
    TENON_HOST_DEVICE T of(std::uint32_t word0, std::uint32_t word1) const {
        return static_cast<T>(deviation * (is_truncated ? Philox::truncated_normal_of(word0, word1)
                                                        : Philox::normal_of(word0, word1)));
    }
};

namespace detail {

/// The standard deviation of a parameter's elements.
inline double initial_deviation(std::string_view name, const ParameterBase& parameter,
                                const InitializerOptions& options) {
    const double growth = options.base_width > 0 ? double(options.width) / options.base_width : 1;
    const Role role = parameter.role;
    if (options.kind == Initializer::gpt2) {
        if (role == Role::position) return 0.01;
        if (role != Role::matrix) return 0.02;
        const bool is_residual = name.ends_with("attention.output.weight") || name.ends_with("down.weight");
        return 0.02 / std::sqrt(growth * (is_residual ? 2.0 * options.depth : 1.0));
    }
    if (role == Role::embedding || role == Role::position) return 1;
    // A matrix has the variance of muP as it is: both its sides grow with the width. Of more than two axes
    // the last two are a matrix.
    const int last = parameter.extents.rank - 1;
    const double in = parameter.extents[last], out = parameter.extents[last - 1];
    return std::sqrt(2.0 / (out + (role == Role::head ? in / growth : in)));
}

template <class Device, class T>
void initialize_parameter(std::string_view name, const ParameterBase& parameter,
                          const InitializerOptions& options, Seed seed, std::uint64_t stream) {
    T* to = static_cast<T*>(parameter.own_data());
    if (parameter.role == Role::gain || parameter.role == Role::bias)
        Memory<Device>::fill(to, parameter.size(), T(parameter.role == Role::gain ? 1.0f : 0.0f));
    else
        Kernel<Initialize, Device>::run(NormalElements{initial_deviation(name, parameter, options),
                                                       options.kind == Initializer::cs336, seed, stream},
                                        to, parameter.size());
}

}  // namespace detail

/// Gives all parameters of a model their first values. Parameter number i draws from stream i of the seed, so
/// the values do not depend on the number of threads, nor on the device. Throws Error where one is borrowed.
template <class Model>
void initialize(Model& model, Seed seed, const InitializerOptions& options = {}) {
    std::uint64_t stream = 0;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        visit_element_type<Model>(parameter, [&]<class T>(std::type_identity<T>) {
            detail::initialize_parameter<typename Model::Device, T>(name, parameter, options, seed, stream++);
        });
    });
}

}  // namespace tenon
