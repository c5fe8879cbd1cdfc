#pragma once

#include <cstddef>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace tenon::detail {

/// Joins parts, in their order, that threads make in any: a thread that has made a part appends what can be
/// appended while others make theirs. A part whose turn it is goes to its place at once; others wait in
/// copies.
template <class Element>
class JoinedParts {
public:
    /// Makes room for about so many elements.
    JoinedParts(std::size_t parts, std::size_t elements) : waiting_(parts), is_made_(parts) {
        joined_.reserve(elements);
    }

    void add(std::size_t part, std::span<const Element> elements) {
        std::unique_lock lock(mutex_);
        if (is_joining_ || part != next_) {
            waiting_[part].assign(elements.begin(), elements.end());
            is_made_[part] = true;
            return;
        }
        is_joining_ = true;
        ++next_;
        lock.unlock();
        append(elements);
        lock.lock();
        while (next_ < waiting_.size() && is_made_[next_]) {
            const std::vector<Element> next = std::move(waiting_[next_++]);
            lock.unlock();
            append(next);
            lock.lock();
        }
        is_joining_ = false;
    }

    /// All elements, once all parts were added.
    std::vector<Element> joined() && { return std::move(joined_); }

private:
    void append(std::span<const Element> elements) {
        joined_.insert(joined_.end(), elements.begin(), elements.end());
    }

    std::mutex mutex_;
    std::vector<std::vector<Element>> waiting_;
    std::vector<bool> is_made_;
    std::size_t next_ = 0;  // the part to append
    bool is_joining_ = false;
    std::vector<Element> joined_;  // of who joins
};

}  // namespace tenon::detail
