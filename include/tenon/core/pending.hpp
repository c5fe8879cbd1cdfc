#pragma once

#include <utility>

#include <tenon/core/storage.hpp>

namespace tenon {

/// A number that a device works out: read, and waited for, when it is asked for. It is what its memory holds
/// by then, so one that each step writes anew is the last step's.
template <class T, class Device>
class Pending {
public:
    /// `number` lies in `storage`.
    Pending(Storage storage, const T* number) : storage_(std::move(storage)), number_(number) {}

    /// Where it is, in the device's memory.
    const T* data() const { return number_; }

    operator T() const {
        T value;
        Memory<Device>::copy(number_, 1, &value);
        return value;
    }

private:
    Storage storage_;
    const T* number_;
};

}  // namespace tenon
