#pragma once

#include <utility>

#include <tenon/core/repeated_work.hpp>
#include <tenon/cuda/graph.hpp>

namespace tenon {

/// The first time the work is done as it is, the second time it is captured, and from then on replayed: then
/// the host no longer does what the work does on the host.
template <>
class RepeatedWork<Cuda> {
public:
    explicit RepeatedWork(cuda::GraphMemory memory = {}) : graph_(std::move(memory)) {}
    /// Another that shares this one's memory, and takes turns with it.
    RepeatedWork sibling() const { return RepeatedWork(graph_.memory()); }

    template <class Work>
    void operator()(Work&& work) {
        if (has_run_)
            replay(work);
        else
            work();
        has_run_ = true;
    }

    /// Captures the work, unless it has been captured, and gives it to the stream.
    template <class Work>
    void replay(Work&& work) {
        if (!graph_.is_captured()) graph_.capture(work);
        graph_.replay();
    }

private:
    cuda::Graph graph_;
    bool has_run_ = false;
};

}  // namespace tenon
