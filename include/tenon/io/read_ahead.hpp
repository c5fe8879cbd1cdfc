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

/// Reads parts of mapped files in the order of their addresses, in threads of its own, so that the disk works
/// on while what was read is used. Nothing changes but when pages are read; of little it does nothing.
class ReadAhead {
public:
    explicit ReadAhead(std::vector<std::span<const std::byte>> parts) {
        std::size_t bytes = 0;
        for (const auto& part : parts) bytes += part.size();
        if (bytes < worth_a_thread) return;
        cut(std::move(parts));
        while (running_ < readers && pthread_create(&threads_[running_], nullptr, &run, this) == 0)
            ++running_;
    }
    ReadAhead(const ReadAhead&) = delete;
    ReadAhead& operator=(const ReadAhead&) = delete;

    ~ReadAhead() {
        next_.store(pieces_.size(), std::memory_order_relaxed);
        for (int i = 0; i < running_; ++i) pthread_join(threads_[i], nullptr);
    }

private:
    // While one reader maps what came, the disk has the other's request.
    static constexpr int readers = 2;
    static constexpr std::size_t worth_a_thread = std::size_t{8} << 20, piece = std::size_t{4} << 20;

    struct Piece {
        std::uintptr_t begin, end;
    };

    /// Whole pages, cut at multiples of a piece's size: tensors are seldom whole pages.
    void cut(std::vector<std::span<const std::byte>> parts) {
        const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
        std::sort(parts.begin(), parts.end(),
                  [](const auto& a, const auto& b) { return a.data() < b.data(); });
        for (const auto& part : parts) {
            const auto first = reinterpret_cast<std::uintptr_t>(part.data()), last = first + part.size();
            std::uintptr_t begin = first / page * page;
            if (!pieces_.empty()) begin = std::max(begin, pieces_.back().end);
            while (begin < last) {
                const std::uintptr_t end =
                    std::min((begin / piece + 1) * piece, (last + page - 1) / page * page);
                if (!pieces_.empty() && pieces_.back().end == begin && begin % piece != 0)
                    pieces_.back().end = end;
                else
                    pieces_.push_back({begin, end});
                begin = end;
            }
        }
    }

    static void* run(void* self) {
        static_cast<ReadAhead*>(self)->read();
        return nullptr;
    }

    void read() {
        for (std::size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < pieces_.size();) {
            void* const address = reinterpret_cast<void*>(pieces_[i].begin);
            const std::size_t size = pieces_[i].end - pieces_[i].begin;
#ifdef MADV_POPULATE_READ
            if (madvise(address, size, MADV_POPULATE_READ) == 0) continue;
#endif
            madvise(address, size, MADV_WILLNEED);
        }
    }

    std::vector<Piece> pieces_;
    std::atomic<std::size_t> next_ = 0;
    pthread_t threads_[readers] = {};
    int running_ = 0;
};

}  // namespace tenon::detail
