#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <tenon/core/storage.hpp>
#include <tenon/cuda/memory_reserve.hpp>
#include <tenon/cuda/stream.hpp>

namespace tenon::cuda {

/// A GPU's memory, taken from the driver in large pieces and given out in blocks: the smallest piece that
/// waits and is large enough is cut to size, and joined with its neighbours again when it comes back. A block
/// goes to work that its stream is given later, so nothing waits. What a reserve takes stays the reserve's.
/// Thread-safe.
class MemoryPool {
public:
    /// Throws CudaError where memory does not suffice.
    MemoryBlock* take(std::size_t bytes) {
        const std::size_t size = rounded(bytes);
        const cudaStream_t stream = current_stream();
        const auto* reserve = detail::selected_reserve;
        const std::lock_guard lock(mutex_);
        Block* block = reserve ? take_waiting(reserve->get(), size) : nullptr;
        if (!block) block = take_waiting(stream, size);
        if (!block) block = create(size, stream);
        cut(*block, size);
        if (reserve) block->reserve = *reserve;
        used_ += block->bytes;
        peak_ = std::max(peak_, used_);
        block->references.store(1, std::memory_order_relaxed);
        return block;
    }

    /// Makes what was a reserve's everybody's again, each block on the stream that it was made for. Blocks of
    /// it that are in use follow when they come back.
    void close(MemoryReserve& reserve) {
        const std::lock_guard lock(mutex_);
        reserve.is_closed = true;
        std::vector<Block*> blocks;
        for (const bool is_small : {false, true})
            for (auto at = waiting_.lower_bound(Wanted{&reserve, is_small, 0});
                 at != waiting_.end() && owner_of(**at) == &reserve && (*at)->is_small == is_small; ++at)
                blocks.push_back(*at);
        for (Block* block : blocks) block->node = waiting_.extract(block);
        for (Block* block : blocks) block->is_waiting = false;
        for (Block* block : blocks) wait(block);
    }

    /// Gives pieces that wait as a whole back to the driver, but for those of reserves: replays write to
    /// them.
    void trim() {
        const std::lock_guard lock(mutex_);
        release_waiting();
    }

    void reset_peak() {
        const std::lock_guard lock(mutex_);
        peak_ = used_;
    }
    std::size_t reserved() const { return number(reserved_); }
    std::size_t used() const { return number(used_); }
    std::size_t peak() const { return number(peak_); }

private:
    struct Block;
    struct Wanted {
        const void* owner;
        bool is_small;
        std::size_t bytes;
    };
    /// By whose blocks are, a stream's or a reserve's, and size.
    struct Order {
        using is_transparent = void;
        static auto key(const Block* block) {
            return std::tuple(owner_of(*block), block->is_small, block->bytes,
                              static_cast<const void*>(block->data));
        }
        static auto key(const Wanted& wanted) {
            return std::tuple(wanted.owner, wanted.is_small, wanted.bytes, static_cast<const void*>(nullptr));
        }
        template <class A, class B>
        bool operator()(const A& a, const B& b) const {
            return key(a) < key(b);
        }
    };
    using Waiting = std::set<Block*, Order>;

    struct Block : MemoryBlock {
        std::size_t bytes = 0;
        cudaStream_t stream = nullptr;
        std::shared_ptr<MemoryReserve> reserve;     // that it belongs to, if to one
        Block *before = nullptr, *after = nullptr;  // its neighbours in the driver's piece
        bool is_small = false, is_waiting = false;
        Waiting::node_type node;  // its place among those that wait, while it does not
    };

    static constexpr std::size_t unit = 512, small_limit = std::size_t{1} << 20,
                                 small_piece = std::size_t{2} << 20;

    static std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }
    static std::size_t rounded(std::size_t bytes) { return round_up(std::max<std::size_t>(bytes, 1), unit); }

    static const void* owner_of(const Block& block) {
        return block.reserve ? static_cast<const void*>(block.reserve.get()) : block.stream;
    }

    /// The smallest that suffices; null where there is none.
    Block* take_waiting(const void* owner, std::size_t size) {
        const bool is_small = size <= small_limit;
        const auto found = waiting_.lower_bound(Wanted{owner, is_small, size});
        if (found == waiting_.end() || owner_of(**found) != owner || (*found)->is_small != is_small)
            return nullptr;
        Block* const block = *found;
        leave(block);
        return block;
    }

    /// Takes a block from among those that wait.
    void leave(Block* block) {
        block->node = waiting_.extract(block);
        block->is_waiting = false;
    }

    /// Lets what a block has beyond a size wait, unless that is too little to be worth it.
    void cut(Block& block, std::size_t size) {
        const std::size_t rest = block.bytes - size;
        if (rest < (block.is_small ? unit : small_limit)) return;
        Block* const other = fresh();
        other->data = static_cast<std::byte*>(block.data) + size;
        other->bytes = rest;
        other->stream = block.stream;
        other->reserve = block.reserve;
        other->is_small = block.is_small;
        other->before = &block;
        other->after = block.after;
        if (other->after) other->after->before = other;
        block.after = other;
        block.bytes = size;
        wait(other);
    }

    /// Puts a block among those that wait, joined with its neighbours there.
    void wait(Block* block) {
        if (block->reserve && block->reserve->is_closed) block->reserve.reset();
        const auto joins = [&](const Block* other) {
            return other && other->is_waiting && owner_of(*other) == owner_of(*block);
        };
        if (joins(block->after)) absorb(*block, block->after);
        if (joins(block->before)) {
            Block* const before = block->before;
            leave(before);
            absorb(*before, block);
            block = before;
        }
        block->is_waiting = true;
        waiting_.insert(std::move(block->node));
    }

    /// Joins a block with the one behind it.
    void absorb(Block& block, Block* after) {
        if (after->is_waiting) leave(after);
        block.bytes += after->bytes;
        block.after = after->after;
        if (block.after) block.after->before = &block;
        after->reserve.reset();
        spare_.push_back(after);
    }

    /// A block without memory: those that were absorbed are used again.
    Block* fresh() {
        if (!spare_.empty()) {
            Block* const block = spare_.back();
            spare_.pop_back();
            return block;
        }
        auto* const block = new Block;
        block->release = [](MemoryBlock* released) { instance().give(static_cast<Block*>(released)); };
        Waiting places;
        places.insert(block);
        block->node = places.extract(places.begin());
        return block;
    }

    void give(Block* block) {
        const std::lock_guard lock(mutex_);
        used_ -= block->bytes;
        wait(block);
    }

    Block* create(std::size_t size, cudaStream_t stream) {
        const bool is_small = size <= small_limit;
        // Large pieces fit together better; an eighth of what there is wastes little.
        const std::size_t least = is_small ? small_piece : round_up(size, small_piece);
        const std::size_t most = std::size_t{256} << 20;
        std::size_t piece =
            is_small ? small_piece : std::max(least, std::min(most, round_up(reserved_ / 8, small_piece)));
        void* data = nullptr;
        cudaError_t status = allocate(&data, piece);
        if (status == cudaErrorMemoryAllocation && piece > least) status = allocate(&data, piece = least);
        // Freeing waits for the device, which a capture does not allow.
        if (status == cudaErrorMemoryAllocation && !detail::selected_reserve) {
            release_waiting();
            status = allocate(&data, piece);
        }
        if (status == cudaErrorMemoryAllocation) {
            std::size_t free = 0, total = 0;
            cudaMemGetInfo(&free, &total);
            throw CudaError("out of memory on the GPU: " + std::to_string(size) +
                            " bytes were asked for, of " + std::to_string(total) + " bytes " +
                            std::to_string(free) + " are free and " + std::to_string(used_) +
                            " are held by tensors");
        }
        check(status, "cudaMalloc");
        Block* const block = fresh();
        block->data = data;
        block->bytes = piece;
        block->stream = stream;
        block->before = block->after = nullptr;
        block->is_small = is_small;
        reserved_ += piece;
        return block;
    }

    static cudaError_t allocate(void** data, std::size_t size) {
        // A capture forbids it, though it is no work of the stream's.
        cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
        check(cudaThreadExchangeStreamCaptureMode(&mode), "cudaThreadExchangeStreamCaptureMode");
        const cudaError_t status = cudaMalloc(data, size);
        if (status == cudaErrorMemoryAllocation) cudaGetLastError();
        check(cudaThreadExchangeStreamCaptureMode(&mode), "cudaThreadExchangeStreamCaptureMode");
        return status;
    }

    // Callers hold the lock.
    void release_waiting() {
        std::vector<Block*> whole;
        for (Block* block : waiting_)
            if (!block->reserve && !block->before && !block->after) whole.push_back(block);
        for (Block* block : whole) {
            cudaFree(block->data);  // waits for the device
            reserved_ -= block->bytes;
            leave(block);
            spare_.push_back(block);
        }
    }

    std::size_t number(const std::size_t& which) const {
        const std::lock_guard lock(mutex_);
        return which;
    }

public:
    /// The process's. Never destroyed: tensors of static storage may outlive every other object.
    static MemoryPool& instance() {
        static MemoryPool* const pool = new MemoryPool;
        return *pool;
    }

private:
    mutable std::mutex mutex_;
    Waiting waiting_;
    std::vector<Block*> spare_;
    std::size_t reserved_ = 0, used_ = 0, peak_ = 0;
};

}  // namespace tenon::cuda
