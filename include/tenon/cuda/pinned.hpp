#pragma once

#include <cstddef>
#include <utility>

#include <tenon/cuda/error.hpp>

namespace tenon::cuda {

/// Elements in memory of the host that the GPU reaches by itself: a copy goes on while the host does
/// something else.
template <class T>
class Pinned {
public:
    explicit Pinned(std::size_t count) {
        check(cudaHostAlloc(&data_, count * sizeof(T), cudaHostAllocDefault), "cudaHostAlloc");
    }
    Pinned(Pinned&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
    Pinned& operator=(Pinned other) noexcept {
        std::swap(data_, other.data_);
        return *this;
    }
    ~Pinned() {
        if (data_) cudaFreeHost(data_);
    }

    T* data() const { return static_cast<T*>(data_); }

private:
    void* data_ = nullptr;
};

}  // namespace tenon::cuda
