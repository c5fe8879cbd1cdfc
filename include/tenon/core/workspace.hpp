#pragma once

#include <algorithm>
#include <cstddef>
#include <new>

namespace tenon {

namespace detail {

/// A thread's scratch memory: a stack of blocks that is kept from call to call.
class WorkspaceStack {
public:
    static constexpr std::size_t alignment = 64;

    struct Position {
        int block;
        std::size_t used;
    };

    WorkspaceStack() = default;
    WorkspaceStack(const WorkspaceStack&) = delete;
    WorkspaceStack& operator=(const WorkspaceStack&) = delete;
    ~WorkspaceStack() { release(); }

    static WorkspaceStack& of_this_thread() {
        static thread_local WorkspaceStack stack;
        return stack;
    }

    Position position() const { return position_; }

    /// Takes the first block now, so that the thread's first task need not.
    void reserve() {
        if (count_ == 0) append(0);
    }

    void* allocate(std::size_t bytes) {
        bytes = (bytes + alignment - 1) / alignment * alignment;
        // A block that is too small for this request is left alone: what it holds may be in use.
        while (position_.block < count_ && sizes_[position_.block] - position_.used < bytes) {
            position_ = {position_.block + 1, 0};
        }
        if (position_.block == count_) append(bytes);
        char* start = blocks_[position_.block] + position_.used;
        position_.used += bytes;
        return start;
    }

    void rewind(Position to) {
        position_ = to;
        // Once nothing is in use, several blocks become one that holds as much as they did together.
        if (to.block == 0 && to.used == 0 && count_ > 1) {
            std::size_t total = 0;
            for (int i = 0; i < count_; ++i) total += sizes_[i];
            release();
            next_size_ = total;
        }
    }

private:
    // Address space rather than memory: the system backs what is touched.
    static constexpr std::size_t first_size = std::size_t{16} << 20;
    static constexpr int max_blocks = 24;  // each block is at least as large as all before it together

    void append(std::size_t bytes) {
        if (count_ == max_blocks) throw std::bad_alloc();
        const std::size_t size = std::max(bytes, next_size_);
        blocks_[count_] = static_cast<char*>(::operator new (size, std::align_val_t{alignment}));
        sizes_[count_++] = size;
        next_size_ = 2 * size;
    }

    void release() {
        for (int i = 0; i < count_; ++i) ::operator delete (blocks_[i], std::align_val_t{alignment});
        count_ = 0;
        position_ = {0, 0};
    }

    char* blocks_[max_blocks] = {};
    std::size_t sizes_[max_blocks] = {};
    int count_ = 0;
    std::size_t next_size_ = first_size;
    Position position_{0, 0};
};

}  // namespace detail

/// Scratch memory of this thread, given back when the scope ends. Scopes nest like the blocks of the program.
/// The memory itself stays with the thread, so that code that runs repeatedly allocates only the first time.
class Workspace {
public:
    Workspace() : stack_(detail::WorkspaceStack::of_this_thread()), start_(stack_.position()) {}
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    ~Workspace() { stack_.rewind(start_); }

    /// Uninitialised room for `count` values of a trivial type, aligned to 64 bytes.
    template <class T>
    T* take(std::size_t count) {
        return static_cast<T*>(stack_.allocate(count * sizeof(T)));
    }

private:
    detail::WorkspaceStack& stack_;
    detail::WorkspaceStack::Position start_;
};

}  // namespace tenon
