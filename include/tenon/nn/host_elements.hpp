#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <tenon/autograd/parameter.hpp>

namespace tenon {

namespace detail {

/// Copies the elements of a matrix, whose strides may be any, one after the other.
template <std::size_t size>
void pack_elements(const ParameterBase& matrix, std::byte* to) {
    const auto* const from = static_cast<const std::byte*>(matrix.data);
    constexpr auto each = static_cast<std::int64_t>(size);
    for (std::int64_t i = 0; i < matrix.extents[0]; ++i)
        for (std::int64_t j = 0; j < matrix.extents[1]; ++j, to += size)
            std::memcpy(to, from + (i * matrix.strides[0] + j * matrix.strides[1]) * each, size);
}

}  // namespace detail

/// A parameter's elements where the host can read them, packed: where they lie, or a copy of a device's, or
/// of those that have strides. For what works on parameters without their types, files above all.
template <class Device>
class HostElements {
public:
    explicit HostElements(const ParameterBase& parameter)
        : bytes_(static_cast<const std::byte*>(parameter.data),
                 static_cast<std::size_t>(parameter.size()) * size_of(parameter.type)) {
        if constexpr (!std::same_as<Device, Cpu>) {
            copy_.resize(bytes_.size());
            Memory<Device>::copy(bytes_.data(), static_cast<std::int64_t>(bytes_.size()), copy_.data());
            bytes_ = copy_;
        } else if (!parameter.is_packed()) {
            copy_.resize(bytes_.size());
            switch (size_of(parameter.type)) {
                case 2:
                    detail::pack_elements<2>(parameter, copy_.data());
                    break;
                case 4:
                    detail::pack_elements<4>(parameter, copy_.data());
                    break;
                default:
                    detail::pack_elements<8>(parameter, copy_.data());
            }
            bytes_ = copy_;
        }
    }
    HostElements(HostElements&&) = default;  // a vector that is moved keeps its memory

    std::span<const std::byte> bytes() const { return bytes_; }
    /// The elements, of the parameter's type T.
    template <class T>
    const T* data() const {
        return reinterpret_cast<const T*>(bytes_.data());
    }

private:
    std::span<const std::byte> bytes_;
    std::vector<std::byte> copy_;
};

/// Has `write(T* to)` write all of a parameter's elements in memory of the host, and takes them over. Throws
/// Error where they are borrowed.
template <class T, class Device, class Write>
void write_elements(ParameterBase& parameter, Write&& write) {
    T* const elements = static_cast<T*>(parameter.own_data());
    if constexpr (std::same_as<Device, Cpu>) {
        write(elements);
    } else {
        std::vector<T> host(static_cast<std::size_t>(parameter.size()));
        write(host.data());
        Memory<Device>::copy(static_cast<const T*>(host.data()), parameter.size(), elements);
    }
}

}  // namespace tenon
