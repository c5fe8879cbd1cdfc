#pragma once

#include <memory>

namespace tenon::cuda {

/// Blocks of memory that graphs have to themselves (see GraphMemory), by the name that is its address.
struct MemoryReserve {
    bool is_closed = false;  // guarded by the pool's lock: its blocks are everybody's again
};

namespace detail {
/// Where this thread's blocks come from while it captures; null: from those of its stream.
inline constinit thread_local const std::shared_ptr<MemoryReserve>* selected_reserve = nullptr;
}  // namespace detail

}  // namespace tenon::cuda
