#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include <tenon/core/error.hpp>
#include <tenon/core/storage.hpp>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/pinned.hpp>
#include <tenon/cuda/stream.hpp>

namespace tenon::cuda {

/// Memory of the device at a fixed place that the host writes anew at each step. The host does not wait for
/// the step before: what it writes passes through one of a few pinned buffers, and it waits only where the
/// device is as many steps behind.
class StagedMemory {
public:
    explicit StagedMemory(std::size_t bytes)
        : bytes_(bytes), device_(Memory<Cuda>::allocate(bytes)), pinned_(buffers * bytes) {}
    StagedMemory(const StagedMemory&) = delete;
    StagedMemory& operator=(const StagedMemory&) = delete;
    ~StagedMemory() {
        try {
            for (const Event& read : read_) read.synchronize();
        } catch (const CudaError&) {  // the next call reports it
        }
    }

    void* device() const { return device_.data(); }

    /// Work that the stream is given from now on sees these bytes. Throws Error while the stream is captured:
    /// a replay would not see what the host has written since.
    void write(const void* from) {
        cudaStreamCaptureStatus status;
        check(cudaStreamIsCapturing(current_stream(), &status), "cudaStreamIsCapturing");
        if (status != cudaStreamCaptureStatusNone)
            throw Error(
                "optimizer: expected prepare_step, which is called before each replay, outside of what is "
                "captured; capture enqueue_step");
        Event& read = read_[next_];
        read.synchronize();  // of an event that was never recorded this returns at once
        std::byte* const buffer = pinned_.data() + next_ * bytes_;
        std::memcpy(buffer, from, bytes_);
        check(cudaMemcpyAsync(device_.data(), buffer, bytes_, cudaMemcpyHostToDevice, current_stream()),
              "cudaMemcpyAsync");
        read.record();
        next_ = (next_ + 1) % buffers;
    }

private:
    static constexpr std::size_t buffers = 4;

    std::size_t bytes_;
    Storage device_;
    Pinned<std::byte> pinned_;
    std::array<Event, buffers> read_;
    std::size_t next_ = 0;
};

/// A list of records of which the device has a copy.
template <class Record>
class StagedTable {
public:
    StagedTable() = default;
    explicit StagedTable(std::size_t count) : records_(count) {
        if (count > 0) memory_ = std::make_unique<StagedMemory>(count * sizeof(Record));
    }

    Record& operator[](std::size_t i) { return records_[i]; }
    void upload() {
        if (memory_) memory_->write(records_.data());
    }
    Record* device() const { return memory_ ? static_cast<Record*>(memory_->device()) : nullptr; }
    std::int64_t size() const { return static_cast<std::int64_t>(records_.size()); }
    /// A thread for each record.
    Grid grid() const { return {blocks_for(size(), 128), 128}; }

private:
    std::vector<Record> records_;
    std::unique_ptr<StagedMemory> memory_;
};

}  // namespace tenon::cuda
