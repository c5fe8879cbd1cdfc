#pragma once

#include <concepts>
#include <cstdint>
#include <vector>

#include <tenon/autograd/parameter.hpp>

namespace tenon {

/// A parameter's elements where the host can read them: where they lie, or a copy of a device's. For what
/// works on parameters without their types, files above all.
template <class T, class Device>
class HostElements {
public:
    explicit HostElements(const ParameterBase& parameter) : data_(static_cast<const T*>(parameter.data)) {
        if constexpr (!std::same_as<Device, Cpu>) {
            copy_.resize(static_cast<std::size_t>(parameter.size()));
            Memory<Device>::copy(data_, parameter.size(), copy_.data());
            data_ = copy_.data();
        }
    }
    HostElements(HostElements&&) = default;  // a vector that is moved keeps its memory

    const T* data() const { return data_; }

private:
    const T* data_;
    std::vector<T> copy_;
};

/// Has `write(T* to)` write all of a parameter's elements in memory of the host, and takes them over.
template <class T, class Device, class Write>
void write_elements(ParameterBase& parameter, Write&& write) {
    T* const elements = static_cast<T*>(parameter.data);
    if constexpr (std::same_as<Device, Cpu>) {
        write(elements);
    } else {
        std::vector<T> host(static_cast<std::size_t>(parameter.size()));
        write(host.data());
        Memory<Device>::copy(static_cast<const T*>(host.data()), parameter.size(), elements);
    }
}

}  // namespace tenon
