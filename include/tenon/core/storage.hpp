#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include <tenon/core/device.hpp>

namespace tenon {

/// A reference-counted block of a device's memory.
struct MemoryBlock {
    std::atomic<int> references{1};
    int size_class = 0;
    void* data = nullptr;
    MemoryBlock* next = nullptr;              // in a pool's free list
    void (*release)(MemoryBlock*) = nullptr;  // called when the last reference goes
};

/// The memory of a device: `allocate(bytes)` returns a block with one reference, never null; `fill`, `copy`
/// and `add` work on `count` elements.
template <class Device>
struct Memory;

/// Blocks of host memory by size class, four to each power of two, so that a steady step takes nothing from
/// malloc: a released block waits in its class's list. Thread-safe; data is aligned to 64 bytes.
template <>
struct Memory<Cpu> {
    static MemoryBlock* allocate(std::size_t bytes) { return pool().take(bytes); }

    template <class T>
    static void fill(T* to, std::int64_t count, T value) {
        std::fill_n(to, count, value);
    }
    template <class T>
    static void copy(const T* from, std::int64_t count, T* to) {
        std::copy_n(from, count, to);
    }
    template <class T>
    static void add(const T* from, std::int64_t count, T* to) {
        for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
    }

    /// Bytes taken from the system and not given back: in use or waiting.
    static std::size_t reserved_bytes() { return pool().reserved.load(std::memory_order_relaxed); }

    /// The greatest number of bytes that were in use at once since the last `reset_peak`.
    static std::size_t peak_bytes() { return pool().peak.load(std::memory_order_relaxed); }
    static std::size_t used_bytes() { return pool().used.load(std::memory_order_relaxed); }
    static void reset_peak() { pool().peak = pool().used.load(); }

    /// Gives waiting blocks back to the system.
    static void trim() { pool().trim(); }

private:
    static constexpr int class_count = 4 * 48;
    static constexpr std::size_t alignment = 64;

    struct Pool {
        std::atomic_flag busy = ATOMIC_FLAG_INIT;
        MemoryBlock* free[class_count] = {};
        std::atomic<std::size_t> reserved{0}, used{0}, peak{0};

        // Class c holds blocks of (4 + c % 4) << (c / 4 + 6) bytes.
        static std::size_t class_bytes(int size_class) {
            return std::size_t(4 + size_class % 4) << (size_class / 4 + 6);
        }
        static int class_of(std::size_t bytes) {
            if (bytes <= 256) return 0;
            const int shift = std::bit_width(bytes - 1) - 3;  // bytes lie in (4, 8] << shift
            const int quarter = static_cast<int>((bytes - 1) >> shift) - 3;
            return 4 * (shift - 6) + quarter;
        }

        void lock() {
            while (busy.test_and_set(std::memory_order_acquire))
                while (busy.test(std::memory_order_relaxed)) {
                }
        }
        void unlock() { busy.clear(std::memory_order_release); }

        MemoryBlock* take(std::size_t bytes) {
            const int size_class = class_of(bytes);
            if (size_class >= class_count) throw std::bad_alloc();
            lock();
            MemoryBlock* block = free[size_class];
            if (block) free[size_class] = block->next;
            const std::size_t now = used += class_bytes(size_class);
            if (now > peak) peak = now;
            unlock();
            if (!block) {
                block = create(size_class);
                reserved += class_bytes(size_class);
            }
            block->references.store(1, std::memory_order_relaxed);
            return block;
        }

        MemoryBlock* create(int size_class) {
            void* memory = std::aligned_alloc(alignment, alignment + class_bytes(size_class));
            if (!memory) {
                used -= class_bytes(size_class);
                throw std::bad_alloc();
            }
            static_assert(sizeof(MemoryBlock) <= alignment);
            MemoryBlock* block = new (memory) MemoryBlock;
            block->size_class = size_class;
            block->data = static_cast<std::byte*>(memory) + alignment;
            block->release = [](MemoryBlock* released) { pool().give(released); };
            return block;
        }

        void give(MemoryBlock* block) {
            lock();
            block->next = free[block->size_class];
            free[block->size_class] = block;
            used -= class_bytes(block->size_class);
            unlock();
        }

        void trim() {
            lock();
            for (int size_class = 0; size_class < class_count; ++size_class)
                while (MemoryBlock* block = free[size_class]) {
                    free[size_class] = block->next;
                    reserved -= class_bytes(size_class);
                    std::free(block);
                }
            unlock();
        }
    };

    // Never destroyed: tensors of static storage may outlive every other object.
    static Pool& pool() {
        static Pool* instance = new Pool;
        return *instance;
    }
};

/// One reference to a block, or none. Copying shares. Not inlined, since every tensor type copies one.
class Storage {
public:
    Storage() = default;
    explicit Storage(MemoryBlock* owned) : block_(owned) {}
    [[gnu::noinline]] Storage(const Storage& other) : block_(other.block_) { retain(); }
    Storage(Storage&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    Storage& operator=(Storage other) noexcept {
        std::swap(block_, other.block_);
        return *this;
    }
    ~Storage() {
        if (block_) release();
    }

    void* data() const { return block_ ? block_->data : nullptr; }
    explicit operator bool() const { return block_ != nullptr; }
    /// Whether no other reference to the block exists.
    bool is_unique() const { return block_ && block_->references.load(std::memory_order_acquire) == 1; }
    void reset() {
        if (block_) release();
        block_ = nullptr;
    }
    /// The reference, leaving none; of threads that take it at once, one gets it.
    Storage take() { return Storage(std::atomic_ref(block_).exchange(nullptr)); }

private:
    void retain() {
        if (block_) block_->references.fetch_add(1, std::memory_order_relaxed);
    }
    [[gnu::noinline]] void release() {
        if (block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) block_->release(block_);
    }

    MemoryBlock* block_ = nullptr;
};

}  // namespace tenon
