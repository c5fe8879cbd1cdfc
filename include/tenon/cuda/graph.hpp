#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include <tenon/cuda/memory.hpp>

namespace tenon::cuda {

/// The memory of graphs, a handle that graphs share which never run at the same time. A replay writes to the
/// addresses of its capture: blocks that are taken while one is captured go back to this memory, for the next
/// to be captured, and to nothing else until the last handle is gone. Blocks of the stream that wait for
/// reuse join it first, so that a step which ran before it was captured is not paid for twice.
class GraphMemory {
public:
    GraphMemory()
        : reserve_(new std::shared_ptr<MemoryReserve>(std::make_shared<MemoryReserve>()), Close()) {}

    const std::shared_ptr<MemoryReserve>& reserve() const { return *reserve_; }

private:
    struct Close {
        void operator()(std::shared_ptr<MemoryReserve>* reserve) const {
            Memory<Cuda>::close(**reserve);
            delete reserve;
        }
    };

    std::shared_ptr<std::shared_ptr<MemoryReserve>> reserve_;
};

/// Work of the GPU that is recorded once and then given to it as a whole: a step of thousands of kernels
/// costs the host one call.
///
///     step();                                   // once as it is: what is made at first use exists then
///     cuda::Graph graph;
///     graph.capture([&] { step(); });           // runs on the host, and does nothing on the device
///     for (…) { loader(number); graph.replay(); }
///
/// A replay repeats kernels with the pointers and numbers of the capture. So whatever changes is read from
/// the device's memory, at the same place; tensors that were made outside must live as long as the graph, and
/// those of the capture that are kept, such as its loss, hold the last replay's values. The work may neither
/// wait for the device nor touch the host's memory: that throws CudaError, and the graph stays as it was
/// before.
class Graph {
public:
    explicit Graph(GraphMemory memory = {}) : memory_(std::move(memory)) {}
    Graph(Graph&& other) noexcept
        : memory_(other.memory_), graph_(std::exchange(other.graph_, nullptr)), nodes_(other.nodes_) {}
    Graph& operator=(Graph other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(graph_, other.graph_);
        std::swap(nodes_, other.nodes_);
        return *this;
    }
    ~Graph() {
        if (graph_) cudaGraphExecDestroy(graph_);
    }

    /// Records what `work()` gives this thread's stream, in place of what was captured before.
    template <class Work>
    void capture(Work&& work) {
        Capture capture(memory_.reserve());
        work();
        const Recorded recorded = capture.finish();
        std::size_t nodes = 0;
        check(cudaGraphGetNodes(recorded.get(), nullptr, &nodes), "cudaGraphGetNodes");
        cudaGraphExec_t graph = nullptr;
        check(cudaGraphInstantiate(&graph, recorded.get(), 0), "cudaGraphInstantiate");
        if (cudaGraphExec_t before = std::exchange(graph_, graph)) cudaGraphExecDestroy(before);
        nodes_ = nodes;
    }

    bool is_captured() const { return graph_ != nullptr; }
    const GraphMemory& memory() const { return memory_; }
    /// Number of kernels, copies and fills.
    std::size_t size() const { return nodes_; }

    /// Gives the work to this thread's stream, which is the one that it was captured from.
    void replay() const {
        if (!graph_) throw CudaError("graph: expected captured work to replay, got none");
        check(cudaGraphLaunch(graph_, current_stream()), "cudaGraphLaunch");
    }

private:
    struct Destroy {
        void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
    };
    using Recorded = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, Destroy>;

    /// While it lives this thread's stream records.
    class Capture {
    public:
        explicit Capture(const std::shared_ptr<MemoryReserve>& reserve)
            : stream_(current_stream()), outer_(std::exchange(detail::selected_reserve, &reserve)) {
            if (outer_)
                throw restored("graph: expected to capture one graph at a time, got one within another");
            // Of this thread alone: others may do what a capture may not.
            const cudaError_t status = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal);
            is_recording_ = status == cudaSuccess;
            if (!is_recording_) detail::selected_reserve = outer_;
            check(status, "cudaStreamBeginCapture");
        }
        Capture(const Capture&) = delete;
        Capture& operator=(const Capture&) = delete;
        ~Capture() {
            if (!is_recording_) return;
            end();
            cudaGetLastError();  // what was thrown says more
        }

        Recorded finish() {
            cudaGraph_t graph = nullptr;
            const cudaError_t status = end(&graph);
            Recorded recorded(graph);
            check(status, "cudaStreamEndCapture");
            return recorded;
        }

    private:
        CudaError restored(const char* message) {
            detail::selected_reserve = outer_;
            return CudaError(message);
        }

        cudaError_t end(cudaGraph_t* graph = nullptr) {
            cudaGraph_t unwanted = nullptr;
            is_recording_ = false;
            detail::selected_reserve = outer_;
            const cudaError_t status = cudaStreamEndCapture(stream_, graph ? graph : &unwanted);
            if (unwanted) cudaGraphDestroy(unwanted);
            return status;
        }

        cudaStream_t stream_;
        const std::shared_ptr<MemoryReserve>* outer_;
        bool is_recording_ = false;
    };

    GraphMemory memory_;
    cudaGraphExec_t graph_ = nullptr;
    std::size_t nodes_ = 0;
};

}  // namespace tenon::cuda
