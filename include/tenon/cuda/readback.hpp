#pragma once

#include <cstddef>

#include <tenon/core/error.hpp>
#include <tenon/core/readback.hpp>
#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/pinned.hpp>
#include <tenon/cuda/stream.hpp>

namespace tenon {

/// Each number is copied in its turn into pinned memory; to take it waits for that copy alone.
template <class T>
class Readback<T, Cuda> {
public:
    static constexpr std::size_t lag = 1;

    Readback() = default;
    Readback(Readback&&) noexcept = default;
    Readback& operator=(const Readback&) = delete;
    ~Readback() {
        for (const cuda::Event& copied : copied_) copied.wait();  // the copies write to what goes now
    }

    /// Throws Error where more than `lag` + 1 are pending.
    void send(const T* from) {
        if (pending_ == places) throw Error("readback: expected numbers to be taken, got too many that wait");
        const std::size_t place = (first_ + pending_++) % places;
        cuda::check(cudaMemcpyAsync(values_.data() + place, from, sizeof(T), cudaMemcpyDeviceToHost,
                                    cuda::current_stream()),
                    "cudaMemcpyAsync");
        copied_[place].record();
    }
    std::size_t pending() const { return pending_; }
    /// Throws Error where a kernel has found a number out of its range.
    T take() {
        copied_[first_].synchronize();
        const T value = values_.data()[first_];
        first_ = (first_ + 1) % places;
        --pending_;
        cuda::throw_fault();
        return value;
    }

private:
    static constexpr std::size_t places = lag + 1;

    cuda::Pinned<T> values_{places};
    cuda::Event copied_[places];
    std::size_t first_ = 0, pending_ = 0;
};

}  // namespace tenon
