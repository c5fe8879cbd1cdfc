#pragma once

#include <utility>

#include <tenon/core/device.hpp>

namespace tenon {

/// Work that is the same each time, but for what it finds in memory. The host does it each time; a GPU is
/// given it as a whole once it has been done (`cuda/repeated_work.hpp`).
template <class Device>
class RepeatedWork;

template <>
class RepeatedWork<Cpu> {
public:
    /// Another, that takes turns with this one.
    RepeatedWork sibling() const { return {}; }

    /// Does the work.
    template <class Work>
    void operator()(Work&& work) {
        work();
    }
    /// The same, of which all that it needs was done once.
    template <class Work>
    void replay(Work&& work) {
        work();
    }
};

}  // namespace tenon
