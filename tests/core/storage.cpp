#include <cstdint>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/core/storage.hpp>

using namespace tenon;

namespace {

Storage allocate(std::size_t bytes) { return Storage(Memory<Cpu>::allocate(bytes)); }

}  // namespace

TEST_CASE("blocks are aligned to 64 bytes, and all of them may be written") {
    std::vector<Storage> blocks;
    for (std::size_t bytes = 0; bytes < 3000; bytes = bytes * 5 / 4 + 1) {
        blocks.push_back(allocate(bytes));
        REQUIRE(blocks.back().data() != nullptr);
        CHECK(reinterpret_cast<std::uintptr_t>(blocks.back().data()) % 64 == 0);
        std::fill_n(static_cast<char*>(blocks.back().data()), bytes, 'x');
    }
    const Storage large = allocate((std::size_t{1} << 24) + 1);
    static_cast<char*>(large.data())[std::size_t{1} << 24] = 'x';
}

TEST_CASE("a released block serves the next request of its size") {
    void* first;
    {
        const Storage block = allocate(100'000);
        first = block.data();
    }
    const std::size_t reserved = Memory<Cpu>::reserved_bytes();
    const Storage again = allocate(99'000);
    CHECK(again.data() == first);
    CHECK(Memory<Cpu>::reserved_bytes() == reserved);
    const Storage other = allocate(100'000);
    CHECK(other.data() != first);
}

TEST_CASE("the last of several references releases a block") {
    const std::size_t before = Memory<Cpu>::used_bytes();
    Storage a = allocate(5000);
    CHECK(Memory<Cpu>::used_bytes() >= before + 5000);
    Storage b = a;
    CHECK(b.data() == a.data());
    a.reset();
    CHECK_FALSE(a);
    CHECK(Memory<Cpu>::used_bytes() > before);
    Storage c = std::move(b);
    CHECK_FALSE(b);  // NOLINT: what a moved-from storage holds is part of its contract
    c = Storage();
    CHECK(Memory<Cpu>::used_bytes() == before);
}

TEST_CASE("a size class wastes at most a quarter") {
    for (std::size_t bytes = 257; bytes < 100'000; bytes = bytes * 9 / 8) {
        const std::size_t before = Memory<Cpu>::used_bytes();
        const Storage block = allocate(bytes);
        const std::size_t taken = Memory<Cpu>::used_bytes() - before;
        CHECK(taken >= bytes);
        CHECK(taken <= bytes + bytes / 4 + 1);
    }
}

TEST_CASE("trim gives waiting blocks back, and the peak counts what was in use at once") {
    Memory<Cpu>::trim();
    const std::size_t reserved = Memory<Cpu>::reserved_bytes();
    Memory<Cpu>::reset_peak();
    const std::size_t start = Memory<Cpu>::peak_bytes();
    { const Storage a = allocate(1 << 20), b = allocate(1 << 20); }
    { const Storage a = allocate(1 << 20); }
    CHECK(Memory<Cpu>::peak_bytes() == start + (2 << 20));
    CHECK(Memory<Cpu>::reserved_bytes() == reserved + (2 << 20));
    Memory<Cpu>::trim();
    CHECK(Memory<Cpu>::reserved_bytes() == reserved);
}

TEST_CASE("threads share the pool") {
    const std::size_t before = Memory<Cpu>::used_bytes();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([i] {
            std::vector<Storage> kept;
            for (int round = 0; round < 500; ++round) {
                Storage block = allocate(static_cast<std::size_t>(64 + round % 7 * 400));
                *static_cast<int*>(block.data()) = i;
                if (round % 3 == 0) kept.push_back(block);
                if (kept.size() > 20) kept.clear();
                CHECK_MESSAGE(*static_cast<int*>(block.data()) == i, "two threads were given one block");
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(Memory<Cpu>::used_bytes() == before);
}
