#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <pthread.h>
#include <span>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace tenon::detail {

/// Reads parts of mapped files, one after the other, in a thread of its own, so that the disk works on while
/// what was read is used. Nothing changes but when pages are read; of little it does nothing.
class ReadAhead {
public:
    explicit ReadAhead(std::vector<std::span<const std::byte>> parts) : parts_(std::move(parts)) {
        std::size_t bytes = 0;
        for (const auto& part : parts_) bytes += part.size();
        if (bytes < worth_a_thread) return;
        runs_ = pthread_create(&thread_, nullptr, &run, this) == 0;
    }
    ReadAhead(const ReadAhead&) = delete;
    ReadAhead& operator=(const ReadAhead&) = delete;

    ~ReadAhead() {
        if (!runs_) return;
        stops_.store(true, std::memory_order_relaxed);
        pthread_join(thread_, nullptr);
    }

private:
    static constexpr std::size_t worth_a_thread = std::size_t{8} << 20, piece = std::size_t{2} << 20;

    static void* run(void* self) {
        static_cast<ReadAhead*>(self)->read();
        return nullptr;
    }

    void read() const {
        const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
        for (const auto& part : parts_) {
            const auto end = reinterpret_cast<std::uintptr_t>(part.data() + part.size());
            for (auto at = reinterpret_cast<std::uintptr_t>(part.data()) / page * page; at < end;
                 at += piece) {
                if (stops_.load(std::memory_order_relaxed)) return;
                void* const address = reinterpret_cast<void*>(at);
                const std::size_t size = std::min<std::size_t>(piece, end - at);
#ifdef MADV_POPULATE_READ
                if (madvise(address, size, MADV_POPULATE_READ) == 0) continue;
#endif
                madvise(address, size, MADV_WILLNEED);
            }
        }
    }

    std::vector<std::span<const std::byte>> parts_;
    std::atomic<bool> stops_ = false;
    pthread_t thread_{};
    bool runs_ = false;
};

}  // namespace tenon::detail
