#pragma once

#include <cstddef>
#include <vector>

#include <tenon/core/storage.hpp>

namespace tenon {

/// Numbers of a device that the host reads later, in order. On the host they are there at once; a GPU hands
/// each over when the work before it is done, while it goes on with what comes after (`cuda/readback.hpp`).
template <class T, class Device = Cpu>
class Readback;

template <class T>
class Readback<T, Cpu> {
public:
    /// How many numbers may be waited for while another step begins: none, as nothing runs beside the host.
    static constexpr std::size_t lag = 0;

    /// Sends for the number that `from` points to now.
    void send(const T* from) { pending_.push_back(*from); }
    /// How many have been sent for and not taken.
    std::size_t pending() const { return pending_.size(); }
    /// The first of them.
    T take() {
        const T value = pending_.front();
        pending_.erase(pending_.begin());
        return value;
    }

private:
    std::vector<T> pending_;
};

}  // namespace tenon
