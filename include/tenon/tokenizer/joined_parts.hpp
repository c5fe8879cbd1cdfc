#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "tenon/core/huge_pages.hpp"

namespace tenon::detail {

/// Joins parts, in their order, that threads make in any: a thread that has made a part appends what can be
/// appended while others make theirs. A part whose turn it is goes to its place at once; others wait.
template <class Element>
class JoinedParts {
public:
    /// Makes room for about so many elements.
    explicit JoinedParts(std::size_t elements) { reserve_in_huge_pages(joined_, elements); }

    /// Takes the elements of a part, and perhaps their memory.
    void add(std::size_t part, std::vector<Element>& elements) {
        std::unique_lock lock(mutex_);
        if (is_joining_ || part != next_) {
            waiting_.emplace(part, std::move(elements));
            return;
        }
        is_joining_ = true;
        ++next_;
        lock.unlock();
        append(elements);
        lock.lock();
        while (const auto next = waiting_.extract(next_)) {
            ++next_;
            lock.unlock();
            append(next.mapped());
            lock.lock();
        }
        is_joining_ = false;
    }

    /// All elements, once all parts were added.
    std::vector<Element> joined() && { return std::move(joined_); }

private:
    void append(const std::vector<Element>& elements) {
        joined_.insert(joined_.end(), elements.begin(), elements.end());
    }

    std::mutex mutex_;
    std::map<std::size_t, std::vector<Element>> waiting_;  // those made before their turn
    std::size_t next_ = 0;                                 // the part to append
    bool is_joining_ = false;
    std::vector<Element> joined_;  // of who joins
};

}  // namespace tenon::detail
