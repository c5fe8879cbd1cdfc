#pragma once

#include <utility>

#include <tenon/cuda/error.hpp>

namespace tenon::cuda {

/// A queue of work of the GPU, which runs in order.
class Stream {
public:
    Stream() {
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    }
    Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
    Stream& operator=(Stream other) noexcept {
        std::swap(stream_, other.stream_);
        return *this;
    }
    ~Stream() {
        if (stream_) cudaStreamDestroy(stream_);
    }

    cudaStream_t get() const { return stream_; }
    void synchronize() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

private:
    cudaStream_t stream_ = nullptr;
};

namespace detail {
inline constinit thread_local cudaStream_t selected_stream = nullptr;
}

/// The stream that all work of this thread goes to: one for the process, unless `UseStream` says otherwise.
inline cudaStream_t current_stream() {
    if (detail::selected_stream) return detail::selected_stream;
    static const Stream* const common =
        new Stream;  // never destroyed: tensors may outlive every other object
    return common->get();
}

/// Within its scope the work of this thread goes to another stream. Memory that is released there is reused
/// there; who passes tensors from stream to stream orders the streams by events.
class UseStream {
public:
    explicit UseStream(const Stream& stream)
        : before_(std::exchange(detail::selected_stream, stream.get())) {}
    UseStream(const UseStream&) = delete;
    UseStream& operator=(const UseStream&) = delete;
    ~UseStream() { detail::selected_stream = before_; }

private:
    cudaStream_t before_;
};

/// A point in a stream: to wait for, or to time by.
class Event {
public:
    Event() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
    Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
    Event& operator=(Event other) noexcept {
        std::swap(event_, other.event_);
        return *this;
    }
    ~Event() {
        if (event_) cudaEventDestroy(event_);
    }

    void record(cudaStream_t stream = current_stream()) {
        check(cudaEventRecord(event_, stream), "cudaEventRecord");
    }
    void synchronize() const { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }
    /// The same for a destructor, which cannot tell of an error; who waits next does.
    void wait() const noexcept {
        if (event_) cudaEventSynchronize(event_);
    }
    /// Work that `stream` is given from now on waits for this event.
    void hold(cudaStream_t stream = current_stream()) const {
        check(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent");
    }
    /// Milliseconds from an earlier event to this one; waits for both.
    float milliseconds_since(const Event& earlier) const {
        synchronize();
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, earlier.event_, event_), "cudaEventElapsedTime");
        return milliseconds;
    }

private:
    cudaEvent_t event_ = nullptr;
};

}  // namespace tenon::cuda
