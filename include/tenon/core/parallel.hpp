#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <pthread.h>
#include <sched.h>
#include <type_traits>
#include <unistd.h>

#include <tenon/core/workspace.hpp>

namespace tenon {

namespace detail {

/// The physical cores that this process may use: of the hardware threads of one core, the first one counts.
inline int usable_cores() {
    cpu_set_t usable;
    CPU_ZERO(&usable);
    if (sched_getaffinity(0, sizeof(usable), &usable) != 0) return 1;
    int cores = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &usable)) continue;
        char path[96];
        std::snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        bool first = true;
        if (std::FILE* list = std::fopen(path, "r")) {
            // The list reads "0,64" or "0-1": numbers, each followed by a comma, by a dash, or by the end.
            int from, to;
            while (first && std::fscanf(list, "%d", &from) == 1) {
                to = from;
                int mark = std::fgetc(list);
                if (mark == '-' && std::fscanf(list, "%d", &to) == 1) mark = std::fgetc(list);
                for (int sibling = from; sibling <= to && sibling < cpu; ++sibling) {
                    if (CPU_ISSET(sibling, &usable)) first = false;
                }
                if (mark != ',') break;
            }
            std::fclose(list);
        }
        cores += first;
    }
    // A container's share of processor time, as "quota period" or "max period".
    if (std::FILE* share = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
        long quota = 0, period = 0;
        if (std::fscanf(share, "%ld %ld", &quota, &period) == 2 && quota > 0 && period > 0) {
            cores = std::min<int>(cores, static_cast<int>((quota + period - 1) / period));
        }
        std::fclose(share);
    }
    return std::max(cores, 1);
}

/// Threads that wait for work. One job runs at a time: tasks 0 .. count - 1, handed out one by one to the
/// caller and to whichever workers come in while some are left.
class ThreadPool {
public:
    using Task = void (*)(void* context, std::int64_t task);

    ThreadPool() = default;
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    ~ThreadPool() {
        stopping_.store(true);
        wake_.fetch_add(1);
        wake_.notify_all();
        for (int i = 0; i < workers_; ++i) pthread_join(threads_[i], nullptr);
        workers_ = 0;
        thread_count_.store(1);
    }

    static ThreadPool& instance() {
        static ThreadPool pool;
        return pool;
    }

    int thread_count() const { return thread_count_.load(std::memory_order_relaxed); }
    void set_thread_count(int count) {
        thread_count_.store(std::clamp(count, 1, max_workers + 1), std::memory_order_relaxed);
    }

    /// True within a task: what it calls runs serially.
    static bool& within_task() {
        static thread_local bool within = false;
        return within;
    }

    void run(std::int64_t count, Task task, void* context) {
        const int helpers = static_cast<int>(std::min<std::int64_t>(thread_count() - 1, count - 1));
        bool idle = false;
        // A second thread of the user's that comes while the pool is at work does its tasks alone.
        if (helpers < 1 || within_task() || !busy_.compare_exchange_strong(idle, true)) {
            for (std::int64_t i = 0; i < count; ++i) task(context, i);
            return;
        }
        start_workers(helpers);
        task_ = task;
        context_ = context;
        count_ = count;
        helpers_ = helpers;
        failure_ = nullptr;
        failed_.store(false, std::memory_order_relaxed);
        next_.store(0, std::memory_order_relaxed);
        gate_.store(open);
        wake_.fetch_add(1);
        wake_.notify_all();

        work();
        gate_.fetch_and(~open);
        for (unsigned inside; (inside = gate_.load()) != 0;) await_change(gate_, inside);

        std::exception_ptr failure = std::move(failure_);
        failure_ = nullptr;
        busy_.store(false);
        if (failure) std::rethrow_exception(failure);
    }

private:
    static constexpr int max_workers = 255;
    static constexpr unsigned open = 1u << 31;  // in gate_; the bits below count the workers inside

    static void pause() {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    /// Spins for some microseconds, for work often follows at once, then sleeps: cores may be shared.
    static void await_change(const std::atomic<unsigned>& word, unsigned old) {
        for (int i = 0; i < 400; ++i) {
            if (word.load() != old) return;
            pause();
        }
        word.wait(old);
    }

    void start_workers(int wanted) {
        while (workers_ < wanted) {
            if (pthread_create(&threads_[workers_], nullptr, &ThreadPool::worker, this) != 0) break;
            ++workers_;
        }
        // What a thread allocates as it starts, it has allocated when this returns.
        const unsigned expected = static_cast<unsigned>(workers_);
        for (unsigned now; (now = ready_.load()) != expected;) await_change(ready_, now);
    }

    static void* worker(void* self) {
        within_task() = true;
        WorkspaceStack::of_this_thread().reserve();
        ThreadPool& pool = *static_cast<ThreadPool*>(self);
        pool.ready_.fetch_add(1);
        pool.ready_.notify_all();
        pool.serve();
        return nullptr;
    }

    void serve() {
        for (unsigned seen = 0; !stopping_.load();) {
            const unsigned now = wake_.load();
            if (now == seen) {
                await_change(wake_, seen);
                continue;
            }
            seen = now;
            if (!enter()) continue;
            work();
            if (gate_.fetch_sub(1) == 1) gate_.notify_all();
        }
    }

    /// Who comes late finds the gate closed, and nobody waits for him.
    bool enter() {
        unsigned state = gate_.load();
        while ((state & open) != 0) {
            if (gate_.compare_exchange_weak(state, state + 1)) {
                if (static_cast<int>(state & ~open) < helpers_) return true;
                if (gate_.fetch_sub(1) == 1) gate_.notify_all();
                return false;
            }
        }
        return false;
    }

    void work() {
        const bool was_within = within_task();
        within_task() = true;
        try {
            for (std::int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;)
                task_(context_, i);
        } catch (...) {
            if (!failed_.exchange(true)) failure_ = std::current_exception();
            next_.store(count_, std::memory_order_relaxed);
        }
        within_task() = was_within;
    }

    // Written by the caller while the gate is closed and nobody is inside.
    Task task_ = nullptr;
    void* context_ = nullptr;
    std::int64_t count_ = 0;
    int helpers_ = 0;
    std::exception_ptr failure_;

    alignas(64) std::atomic<std::int64_t> next_{0};
    alignas(64) std::atomic<unsigned> gate_{0};
    alignas(64) std::atomic<unsigned> wake_{0};
    std::atomic<unsigned> ready_{0};  // workers that have started
    std::atomic<bool> busy_{false}, failed_{false}, stopping_{false};
    std::atomic<int> thread_count_{usable_cores()};
    int workers_ = 0;
    pthread_t threads_[max_workers];
};

}  // namespace detail

/// How many threads parallel loops use, the caller's included: at first the physical cores that the process
/// may use.
inline int thread_count() { return detail::ThreadPool::instance().thread_count(); }

/// Sets how many threads parallel loops use from now on; 1 makes them serial.
inline void set_thread_count(int count) { detail::ThreadPool::instance().set_thread_count(count); }

/// Calls body(task) for each task of [0, tasks), on several threads in no set order. Returns when all are
/// done. Within a body further loops run serially. The first exception of a body goes on to the caller; tasks
/// not yet begun are then dropped.
template <class Body>
void parallel_for_each(std::int64_t tasks, Body&& body) {
    if (tasks <= 0) return;
    if (tasks == 1) return body(std::int64_t{0});
    using Erased = std::remove_reference_t<Body>;
    detail::ThreadPool::instance().run(
        tasks, [](void* context, std::int64_t task) { (*static_cast<Erased*>(context))(task); },
        const_cast<void*>(static_cast<const void*>(std::addressof(body))));
}

/// Calls body(begin, end) for ranges that together make up [0, count), on several threads. Each begins at a
/// multiple of `grain`, the least amount of work that is worth a thread; no more than one grain runs on the
/// caller.
template <class Body>
void parallel_for(std::int64_t count, std::int64_t grain, Body&& body) {
    if (count <= 0) return;
    const std::int64_t grains = (count + grain - 1) / grain;
    // A few ranges for each thread even out cores of unequal speed.
    const int threads = grains > 1 ? thread_count() : 1;
    const std::int64_t ranges = threads == 1 ? 1 : std::min<std::int64_t>(grains, 4 * threads);
    parallel_for_each(ranges, [&](std::int64_t range) {
        const std::int64_t begin = grains * range / ranges * grain;
        const std::int64_t end = std::min(grains * (range + 1) / ranges * grain, count);
        body(begin, end);
    });
}

}  // namespace tenon
