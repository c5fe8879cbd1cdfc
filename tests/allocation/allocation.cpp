// A steady training step and a steady generated token call malloc not once, on any thread. Counted at malloc
// itself, so that nothing escapes: this program defines it, and passes on to the C library. It has a main of
// its own, since a framework for tests would allocate too. Returns 77 where it cannot count.

#include <cstdio>
#include <cstdlib>

#ifndef __has_feature
#define __has_feature(name) 0
#endif

#if !defined(__GLIBC__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)

int main() {
    std::puts("skipped: malloc is not this C library's, or a sanitizer's");
    return 77;
}

#else

#include <atomic>
#include <cerrno>
#include <cstring>
#include <execinfo.h>
#include <vector>

#include <tenon/inference/generator.hpp>
#include <tenon/tenon.hpp>

namespace {

std::atomic<bool> is_counting{false};
std::atomic<int> calls{0};

/// Prints where the first few come from, for whoever must find them: addr2line translates.
void count() {
    if (!is_counting.load(std::memory_order_relaxed) || calls.fetch_add(1) >= 3) return;
    is_counting = false;
    void* frames[24];
    std::fputs("malloc called from\n", stderr);
    backtrace_symbols_fd(frames, backtrace(frames, 24), 2);
    is_counting = true;
}

}  // namespace

extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) noexcept {
    count();
    return __libc_malloc(bytes);
}
void* calloc(std::size_t elements, std::size_t bytes) noexcept {
    count();
    return __libc_calloc(elements, bytes);
}
void* realloc(void* old, std::size_t bytes) noexcept {
    count();
    return __libc_realloc(old, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
    count();
    return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
    count();
    return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** result, std::size_t alignment, std::size_t bytes) noexcept {
    count();
    *result = __libc_memalign(alignment, bytes);
    return *result ? 0 : ENOMEM;
}

}  // extern "C"

namespace {

using namespace tenon;

int failures = 0;

void require(bool condition, const char* what, int threads) {
    if (condition) return;
    std::printf("FAILED with %d threads: %s\n", threads, what);
    ++failures;
}

template <class F>
int allocations(F&& f) {
    calls = 0;
    is_counting = true;
    f();
    is_counting = false;
    return calls;
}

struct Small : TransformerDefaults {
    static constexpr int vocabulary = 300, context = 64, width = 64, depth = 2, heads = 4,
                         key_value_heads = 2, hidden = 96;
};
using Model = Transformer<Small>;
using Tokens = Tensor<std::uint16_t, Shape<4, 64>>;

Tokens tokens(int first) {
    auto ids = Tokens::uninitialized();
    for (int i = 0; i < 256; ++i) ids.data()[i] = static_cast<std::uint16_t>((i * i + first) % 300);
    return ids;
}

void check_training(int threads) {
    Trainable<Model> model(seed(1));
    AdamW optimizer(model);
    const CosineSchedule schedule{.maximum = 1e-3, .minimum = 1e-4, .warmup = 2, .end = 20};
    const Tokens inputs = tokens(0), targets = tokens(7);
    double loss_value = 0;
    const auto step = [&](int number) {
        auto loss = cross_entropy(model(inputs), targets);
        loss_value = loss.item();
        backward(loss);
        optimizer.clip(1.0);
        optimizer.rate = schedule(number);
        optimizer.step();
    };
    for (int i = 0; i < 3; ++i) step(i);
    const double before = loss_value;
    // Kept across steps, while the pool's blocks go round.
    const auto kept = detach(model(inputs).tensor());
    const std::vector<float> copy(kept.data(), kept.data() + kept.size());
    step(3);
    const int count = allocations([&] {
        for (int i = 4; i < 8; ++i) step(i);
    });
    require(count == 0, "a steady training step allocates nothing", threads);
    require(loss_value < before, "the loss falls", threads);
    require(std::memcmp(kept.data(), copy.data(), copy.size() * sizeof(float)) == 0,
            "a kept tensor keeps its values", threads);
}

/// Micro-batches, the optimizer's step, and the averages'.
template <class MakeOptimizer>
void check_optimizer(const char* what, MakeOptimizer make, int threads) {
    Trainable<Model> model(seed(1));
    auto optimizer = make(model);
    Ema ema(model);
    const Tokens inputs = tokens(0), targets = tokens(7);
    const auto step = [&] {
        for (int part = 0; part < 2; ++part) backward(Tensor(cross_entropy(model(inputs), targets) / 2.0f));
        optimizer.clip(1.0);
        optimizer.step();
        ema.update();
        const auto swapped = ema.swap_in();
    };
    for (int i = 0; i < 3; ++i) step();
    require(allocations([&] {
                for (int i = 0; i < 3; ++i) step();
            }) == 0,
            what, threads);
}

void check_generation(int threads) {
    const Model model(seed(1));
    Generator generator(model, {.temperature = 0.8, .top_k = 50, .top_p = 0.9}, seed(2));
    const std::int32_t prompt[] = {5, 250, 17, 3};
    generator.feed(prompt);
    for (int i = 0; i < 3; ++i) generator.next();
    const int count = allocations([&] {
        for (int i = 0; i < 50; ++i) generator.next();  // up to 57 of 64 positions
    });
    require(count == 0, "a steady generated token allocates nothing", threads);
}

}  // namespace

int main() {
    void* frame;
    backtrace(&frame, 1);  // its first call allocates
    require(allocations([] { std::free(std::malloc(100)); }) == 1,
            "malloc is counted (one call above is meant)", 1);
    for (const int threads : {1, 2, 3}) {
        set_thread_count(threads);
        check_training(threads);
        check_optimizer(
            "SGD allocates nothing", [](auto& model) { return SGD(model, {.momentum = 0.9}); }, threads);
        check_optimizer(
            "Lion allocates nothing", [](auto& model) { return Lion(model); }, threads);
        check_optimizer(
            "Adafactor allocates nothing", [](auto& model) { return Adafactor(model); }, threads);
        check_optimizer(
            "Muon allocates nothing", [](auto& model) { return Muon(model); }, threads);
        check_generation(threads);
    }
    if (failures == 0) std::puts("no allocation in steady steps");
    return failures == 0 ? 0 : 1;
}

#endif
