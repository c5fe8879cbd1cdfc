#pragma once

#include <cstdint>
#include <cudaTypedefs.h>

#include <tenon/cuda/async_copy.cuh>

/// Copies of whole boxes of a matrix by the bulk copy engine of sm_90, barriers that count the bytes that
/// have come, and clusters of blocks that reach each other's shared memory.
namespace tenon::cuda {

/// A barrier in shared memory. A phase ends when all who are expected have arrived, with all announced bytes.
struct BulkBarrier {
    std::uint32_t address;

    __device__ __forceinline__ void initialize(unsigned arrivals) const {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address), "r"(arrivals) : "memory");
    }
    /// Arrives, and announces bytes.
    __device__ __forceinline__ void arrive_expecting(unsigned bytes) const {
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address), "r"(bytes)
                     : "memory");
    }
    /// Arrives at the barrier that lies here in another block of the cluster. What this thread wrote need not
    /// be seen there: a wider scope would cost a fence of the whole GPU.
    __device__ __forceinline__ void arrive_in_block(unsigned block) const {
        asm volatile(
            "{ .reg .b32 there; mapa.shared::cluster.u32 there, %0, %1; "
            "mbarrier.arrive.shared::cluster.b64 _, [there]; }" ::"r"(address),
            "r"(block)
            : "memory");
    }
    /// Waits for the end of a phase of this parity; the one before the first has 1.
    __device__ __forceinline__ void wait(unsigned parity) const {
        unsigned is_over;
        do {
            asm volatile(
                "{ .reg .pred over; mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2; "
                "selp.u32 %0, 1, 0, over; }"
                : "=r"(is_over)
                : "r"(address), "r"(parity)
                : "memory");
        } while (!is_over);
    }
};

/// Makes barriers that this thread initialized known to the engine and to the cluster.
__device__ __forceinline__ void publish_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/// Starts the copy of a box of a matrix, from element (row, column) on, into shared memory.
__device__ __forceinline__ void load_box(std::uint32_t to, const CUtensorMap& from, int row, int column,
                                         BulkBarrier barrier) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], "
        "[%4];" ::"r"(to),
        "l"(&from), "r"(column), "r"(row), "r"(barrier.address)
        : "memory");
}
/// The same into the shared memory of each block of the cluster whose bit `blocks` has set, and to the
/// barrier there.
__device__ __forceinline__ void load_box_in_blocks(std::uint32_t to, const CUtensorMap& from, int row,
                                                   int column, BulkBarrier barrier, unsigned blocks) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
        "[%0], "
        "[%1, {%2, %3}], [%4], %5;" ::"r"(to),
        "l"(&from), "r"(column), "r"(row), "r"(barrier.address), "h"(static_cast<unsigned short>(blocks))
        : "memory");
}

/// Lets the engine see what this thread wrote to shared memory.
__device__ __forceinline__ void show_to_engine() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
/// Starts the copy of a box from shared memory to a matrix, as a group of its own.
__device__ __forceinline__ void store_box(std::uint32_t from, const CUtensorMap& to, int row, int column) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&to),
                 "r"(column), "r"(row), "r"(from)
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
/// The same, adding to what the matrix has.
__device__ __forceinline__ void add_box(std::uint32_t from, const CUtensorMap& to, int row, int column) {
    asm volatile(
        "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(
            &to),
        "r"(column), "r"(row), "r"(from)
        : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
/// Waits until the shared memory of all but this thread's last `pending` stores may be written again.
template <int pending>
__device__ __forceinline__ void wait_stores_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
}
/// Waits until all of this thread's stores are done.
__device__ __forceinline__ void wait_stores() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }

/// The block's number within its cluster.
__device__ __forceinline__ unsigned block_in_cluster() {
    unsigned number;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(number));
    return number;
}
/// Waits for all threads of the cluster's blocks.
__device__ __forceinline__ void synchronize_cluster() {
    asm volatile("barrier.cluster.arrive.release; barrier.cluster.wait.acquire;" ::: "memory");
}

}  // namespace tenon::cuda
