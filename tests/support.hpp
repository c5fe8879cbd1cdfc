#pragma once

// What the tests of tensors share.

#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/autograd/parameter.hpp>
#include <tenon/core/cast.hpp>
#include <tenon/core/compare.hpp>
#include <tenon/core/elements.hpp>
#include <tenon/core/on_host.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/tensor.hpp>
#include <tenon/core/to_device.hpp>
#include <tenon/nn/host_elements.hpp>
#include <tenon/nn/visitor.hpp>

#include "device.hpp"

namespace tenon::support {

/// Numbers in [-1, 1) that look random and are the same on every machine.
class Numbers {
public:
    explicit Numbers(std::uint32_t seed) : state_(seed * 2654435761u + 12345u) {}
    double operator()() {
        state_ = state_ * 1664525u + 1013904223u;
        return static_cast<double>(state_ >> 8) / (1 << 23) - 1;
    }

private:
    std::uint32_t state_;
};

/// A tensor of such numbers.
template <class T, class S, class... N>
Tensor<T, S, Device> numbers(std::uint32_t seed, N... lengths) {
    auto result = Tensor<T, S>::uninitialized(lengths...);
    Numbers next(seed);
    for (T& element : result.span()) element = convert<T>(next());
    return to_device<Device>(result);
}

template <class S, class... N>
Parameter<double, S, Device> parameter(std::uint32_t seed, N... lengths) {
    return Parameter<double, S, Device>(numbers<double, S>(seed, lengths...));
}

/// How far from the first element of a tensor the one at these indices lies.
template <TensorLike X, class... I>
std::int64_t offset_of(const X& x, I... indices) {
    const std::int64_t at[] = {indices..., 0};
    std::int64_t offset = 0;
    for (int axis = 0; axis < X::rank; ++axis) offset += at[axis] * x.strides()[axis];
    return offset;
}

/// The element at these indices, for the host.
template <TensorLike X, class... I>
typename X::value_type at(const X& x, I... indices) {
    typename X::value_type value{};
    Memory<typename X::device_type>::copy(x.data() + offset_of(x, indices...), 1, &value);
    return value;
}

/// Writes the element at these indices.
template <TensorLike X, class... I>
void set(const X& x, typename X::value_type value, I... indices) {
    Memory<typename X::device_type>::copy(
        &value, 1, const_cast<typename X::value_type*>(x.data()) + offset_of(x, indices...));
}

/// A copy of the elements of a parameter of T for the host.
template <class T>
std::vector<T> elements(const ParameterBase& parameter) {
    REQUIRE(parameter.type == element_type_of<T>());
    const HostElements<Device> here(parameter);
    const T* const data = here.template data<T>();
    return std::vector<T>(data, data + parameter.size());
}

/// The elements of all of a model's parameters, in order.
template <class Model>
std::vector<double> all_elements(Model& model) {
    std::vector<double> result;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        visit_element_type<Model>(parameter, [&]<class T>(std::type_identity<T>) {
            for (const T value : elements<T>(parameter)) result.push_back(convert<double>(value));
        });
    });
    return result;
}

/// The gradients of all of a model's parameters, in order.
template <class Model>
std::vector<double> all_gradients(Model& model) {
    std::vector<double> result;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        visit_element_type<Model>(parameter, [&]<class T>(std::type_identity<T>) {
            using C = ComputeOf<T>;
            std::vector<C> gradient(static_cast<std::size_t>(parameter.size()));
            if (parameter.gradient->written)
                Memory<Device>::copy(static_cast<const C*>(parameter.gradient->storage.data()),
                                     parameter.size(), gradient.data());
            for (const C value : gradient) result.push_back(static_cast<double>(value));
        });
    });
    return result;
}

template <class Model>
void clear_gradients(Model& model) {
    for_each_parameter(
        model, [](std::string_view, ParameterBase& parameter) { parameter.gradient->written = false; });
}

/// Writes all elements of a parameter of T.
template <class T>
void assign(const ParameterBase& parameter, const std::vector<T>& elements) {
    REQUIRE(parameter.type == element_type_of<T>());
    Memory<Device>::copy(elements.data(), parameter.size(), static_cast<T*>(parameter.data));
}

/// A copy for the host of what an optimizer keeps: memory of the device, or a counter of the host.
inline std::vector<char> bytes_of(std::size_t count, const void* data) {
    std::vector<char> bytes(count);
    Memory<Device>::copy(static_cast<const char*>(data), static_cast<std::int64_t>(bytes.size()),
                         bytes.data());
    return bytes;
}
inline void write_bytes(const std::vector<char>& bytes, void* data) {
    Memory<Device>::copy(bytes.data(), static_cast<std::int64_t>(bytes.size()), static_cast<char*>(data));
}

inline constexpr bool is_cpu = std::same_as<Device, Cpu>;

/// How far results of T may lie from those that f32 gives. The CPU computes in f32 and rounds once; a GPU
/// keeps what lies between, gradients above all, in T.
template <class T>
inline constexpr double error_of_steps = is_cpu ? 1e-6 : (std::same_as<T, bf16> ? 0x1p-8 : 0x1p-11);

/// What a failing function says, and "no error" of one that does not.
template <class Run>
std::string words_of(Run&& run) {
    try {
        run();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

/// Whether two packed tensors have the same extents and the same bits.
template <class A, class B>
bool same_bits(const A& a, const B& b) {
    const auto& x = on_host(a);
    const auto& y = on_host(b);
    return x.extents() == y.extents() &&
           std::memcmp(x.data(), y.data(), static_cast<std::size_t>(x.size()) * sizeof(*x.data())) == 0;
}

/// The elements of any tensor, in row-major order, as f64.
template <class X>
std::vector<double> values(const X& x) {
    const auto& here = on_host(x);
    const Elements elements(here.view());
    std::vector<double> result;
    for (std::int64_t i = 0; i < elements.size(); ++i) result.push_back(convert<double>(elements[i]));
    return result;
}

/// Whether y, of 16 bits, is what f32 gives, rounded: on the CPU to the last bit.
template <class Y, class Wide>
bool is_rounded(const Y& y, const Wide& wide) {
    using T = typename Y::value_type;
    if (is_cpu) return values(y) == values(cast<T>(wide));
    return relative_error(y, wide) < 2 * error_of_steps<T>;
}

/// Numbers as a seed of y's backward pass.
template <class Y>
auto seed_of(const Y&, const std::vector<double>& numbers) {
    std::vector<GradientOf<typename Y::value_type, typename Y::device_type>> result;
    for (const double x : numbers) result.push_back(convert<typename decltype(result)::value_type>(x));
    return result;
}

/// The greatest difference of a tensor's elements from a function of their number, over 1 + the function's
/// size.
template <class X, std::invocable<std::int64_t> F>
double worst_error(const X& x, F&& expected) {
    const auto& here = on_host(x);
    const Elements elements(here.view());
    double worst = 0;
    for (std::int64_t i = 0; i < elements.size(); ++i) {
        const double exact = expected(i),
                     error = std::abs(convert<double>(elements[i]) - exact) / (1 + std::abs(exact));
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

/// The same for a list, which must have as many numbers.
template <class X>
double worst_error(const X& x, const std::vector<double>& expected) {
    REQUIRE(x.size() == static_cast<std::int64_t>(expected.size()));
    return worst_error(x, [&](std::int64_t i) { return expected[static_cast<std::size_t>(i)]; });
}

/// A count of threads for one scope.
class WithThreads {
public:
    explicit WithThreads(int count) : before_(thread_count()) { set_thread_count(count); }
    WithThreads(const WithThreads&) = delete;
    WithThreads& operator=(const WithThreads&) = delete;
    ~WithThreads() { set_thread_count(before_); }

private:
    int before_;
};

/// The bits of what `run` returns, a vector of numbers, are the same for one, two and three threads; of
/// kernels of a GPU, which the host's threads do not enter, run after run.
template <class F>
bool same_for_any_thread_count(F&& run) {
    std::vector<double> first;
    for (const int threads : {1, 2, 3}) {
        const WithThreads with(threads);
        const std::vector<double> now = run();
        if (threads == 1)
            first = now;
        else if (now.size() != first.size() ||
                 std::memcmp(now.data(), first.data(), now.size() * sizeof(double)) != 0)
            return false;
    }
    return true;
}

/// Appends a tensor's elements.
template <class X>
void append(std::vector<double>& to, const X& x) {
    const std::vector<double> more = values(x);
    to.insert(to.end(), more.begin(), more.end());
}

}  // namespace tenon::support
