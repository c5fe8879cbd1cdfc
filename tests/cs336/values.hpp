#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <tenon/autograd/parameter.hpp>
#include <tenon/core/error.hpp>
#include <tenon/core/tensor.hpp>
#include <tenon/core/to_device.hpp>
#include <tenon/io/safetensors.hpp>

#include "../device.hpp"

/// What make_values.py has computed.
namespace cs336 {

using tenon::support::Device;

/// The fixtures' sizes.
inline constexpr int batch = 4, queries = 12, keys = 16, d_model = 64, heads = 4, d_ff = 128, layers = 3,
                     context = 16, vocabulary = 160;
inline constexpr double rope_theta = 10'000;

/// A tensor of a file, of exactly this type and shape.
template <class T, class S>
tenon::Tensor<T, S, Device> read(const tenon::Safetensors& file, std::string_view name) {
    const tenon::SafetensorsEntry& entry = file.at(name);
    auto result = tenon::Tensor<T, S>::uninitialized();
    const tenon::Extents& extents = result.extents();
    if (entry.type != tenon::element_type_of<T>() ||
        entry.shape != std::vector<std::int64_t>(extents.size, extents.size + extents.rank))
        throw tenon::FileError(file.where() + ": " + std::string(name) + ": another type or shape");
    std::memcpy(result.data(), entry.bytes.data(), entry.bytes.size());
    return tenon::to_device<Device>(result);
}

/// The inputs and outputs of the functions.
inline const tenon::Safetensors& values() {
    static const auto file = tenon::Safetensors::open(CS336_VALUES "/values.safetensors");
    return file;
}

template <class T, class S>
tenon::Tensor<T, S, Device> value(std::string_view name) {
    return read<T, S>(values(), name);
}

/// A vector of any length.
template <class T>
std::vector<T> list(std::string_view name) {
    const auto bytes = values().at(name).bytes;
    std::vector<T> result(bytes.size() / sizeof(T));
    if (!result.empty()) std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
}

inline std::string text(std::string_view name) {
    const std::vector<char> bytes = list<char>(name);
    return {bytes.begin(), bytes.end()};
}

/// The language model, under the assignment's names.
inline const tenon::Safetensors& state_dict() {
    static const auto file = tenon::Safetensors::open(CS336_VALUES "/model.safetensors");
    return file;
}

template <class S>
tenon::Tensor<float, S, Device> weight(const std::string& name) {
    return read<float, S>(state_dict(), name + ".weight");
}

}  // namespace cs336
