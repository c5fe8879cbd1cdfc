#pragma once

#include <string>

#include <tenon/core/device.hpp>

namespace tenon {

/// A stretch of a program that a profiler of the device shows under a name, for as long as this lives;
/// nothing on the host (`cuda/named_range.hpp`).
template <class Device>
class NamedRange;

template <>
class NamedRange<Cpu> {
public:
    explicit NamedRange(const std::string&) {}
    NamedRange(const NamedRange&) = delete;
    NamedRange& operator=(const NamedRange&) = delete;
    ~NamedRange() {}  // used, if only for its life
};

}  // namespace tenon
