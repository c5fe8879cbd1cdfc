#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>

namespace {

/// Sets a count of threads for one test.
class WithThreads {
public:
    explicit WithThreads(int count) : before_(tenon::thread_count()) { tenon::set_thread_count(count); }
    ~WithThreads() { tenon::set_thread_count(before_); }

private:
    int before_;
};

}  // namespace

TEST_CASE("the count of threads is at least one and can be set") {
    CHECK(tenon::thread_count() >= 1);
    const WithThreads threads(3);
    CHECK(tenon::thread_count() == 3);
    tenon::set_thread_count(0);
    CHECK(tenon::thread_count() == 1);
}

TEST_CASE("every task runs once, whatever the count of threads") {
    for (const int count : {1, 2, 4, 7}) {
        const WithThreads threads(count);
        for (int repetition = 0; repetition < 300; ++repetition) {
            std::vector<int> runs(repetition);
            tenon::parallel_for_each(repetition, [&](std::int64_t task) { ++runs[task]; });
            bool once = true;
            for (const int number : runs) once = once && number == 1;
            REQUIRE(once);
        }
    }
}

TEST_CASE("ranges cover the whole and begin at multiples of the grain") {
    for (const int count : {1, 2, 5}) {
        const WithThreads threads(count);
        for (const std::int64_t length : {0, 1, 63, 64, 65, 1000, 100000}) {
            std::vector<int> visits(length);
            std::atomic<bool> aligned{true};
            tenon::parallel_for(length, 64, [&](std::int64_t begin, std::int64_t end) {
                if (begin % 64 != 0 || begin >= end) aligned = false;
                for (std::int64_t i = begin; i < end; ++i) ++visits[i];
            });
            CHECK(aligned);
            bool once = true;
            for (const int number : visits) once = once && number == 1;
            CHECK(once);
        }
    }
}

TEST_CASE("work below the grain stays on the caller") {
    const WithThreads threads(4);
    const pthread_t caller = pthread_self();
    tenon::parallel_for(100, 100, [&](std::int64_t begin, std::int64_t end) {
        CHECK(pthread_equal(pthread_self(), caller));
        CHECK(begin == 0);
        CHECK(end == 100);
    });
}

TEST_CASE("loops nest: the inner ones run serially") {
    const WithThreads threads(4);
    std::vector<int> counts(16 * 16);
    std::atomic<bool> serial{true};
    tenon::parallel_for_each(16, [&](std::int64_t outer) {
        const pthread_t self = pthread_self();
        tenon::parallel_for_each(16, [&](std::int64_t inner) {
            if (!pthread_equal(self, pthread_self())) serial = false;
            ++counts[outer * 16 + inner];
        });
    });
    CHECK(serial);
    for (const int number : counts) REQUIRE(number == 1);
}

TEST_CASE("an exception in a body reaches the caller, and the pool goes on") {
    for (const int count : {1, 4}) {
        const WithThreads threads(count);
        for (int repetition = 0; repetition < 50; ++repetition) {
            CHECK_THROWS_AS(tenon::parallel_for_each(100,
                                                     [](std::int64_t task) {
                                                         if (task == 50) throw std::runtime_error("fifty");
                                                     }),
                            std::runtime_error);
            std::atomic<int> runs{0};
            tenon::parallel_for_each(100, [&](std::int64_t) { ++runs; });
            CHECK(runs == 100);
        }
    }
}

TEST_CASE("two threads of the user may both run loops") {
    const WithThreads threads(4);
    const auto many_loops = [](void* sum) -> void* {
        for (int i = 0; i < 200; ++i) {
            tenon::parallel_for_each(8, [&](std::int64_t) { ++*static_cast<std::atomic<int>*>(sum); });
        }
        return nullptr;
    };
    std::atomic<int> here{0}, there{0};
    pthread_t other;
    REQUIRE(pthread_create(&other, nullptr, many_loops, &there) == 0);
    many_loops(&here);
    pthread_join(other, nullptr);
    CHECK(here == 1600);
    CHECK(there == 1600);
}

TEST_CASE("scratch memory is aligned, nests, and is used again") {
    void* first;
    {
        tenon::Workspace outer;
        float* a = outer.take<float>(3);
        first = a;
        CHECK(reinterpret_cast<std::uintptr_t>(a) % 64 == 0);
        double* b;
        {
            tenon::Workspace inner;
            b = inner.take<double>(100000);  // more than the first block holds
            CHECK(reinterpret_cast<std::uintptr_t>(b) % 64 == 0);
            b[99999] = 1;
        }
        a[2] = 1;
        tenon::Workspace inner;
        CHECK(inner.take<double>(100000) == b);
        CHECK(outer.take<float>(3) != a);
    }
    // What spread over several blocks lies in one from the next time on.
    void* merged;
    {
        tenon::Workspace scope;
        merged = scope.take<double>(100001);
        scope.take<float>(1);
    }
    tenon::Workspace scope;
    CHECK(scope.take<double>(100001) == merged);
    static_cast<void>(first);
}
