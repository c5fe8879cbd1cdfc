#pragma once

// What the programs of this folder share: random operands, medians of times taken by events, and rows
// "name: number unit", which kernels.py reads.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <tenon/cuda.hpp>

namespace bench {

using namespace tenon;

/// Standard normal elements, others at each call.
template <class T, class S>
Tensor<T, S, Cuda> random() {
    static std::uint64_t stream = 0;
    auto x = Tensor<T, S, Cuda>::uninitialized();
    Kernel<Initialize, Cuda>::run(NormalElements{1, false, seed(1), stream++}, x.data(), x.size());
    return x;
}

/// x as a model's layers see it: its gradient is wanted, in its own element type. Each call gives it another
/// place for its gradient, so that passes do not add up.
template <class T, class S>
Tensor<T, S, Cuda, Tracked> activation(const Tensor<T, S, Cuda>& x) {
    const Storage owner = OwnedGradientSlot::create(x.size());
    auto* const slot = static_cast<GradientSlot*>(owner.data());
    slot->is_wide = false;
    return {x.storage(), x.data(), x.extents(), {}, Tracked(SlotReference(slot, owner))};
}

inline double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

inline constexpr int warm = 3, repeats = 15;

/// Whether each run begins only when the one before is over, so that the host's time counts, too.
inline const bool waits_for_each_run = std::getenv("BENCH_WAITS") != nullptr;

/// The median time of `work()` in milliseconds, without that of `prepare()`, which goes before it. The host
/// runs ahead, unless told to wait: only the GPU's time counts.
template <class Work, class Prepare>
double milliseconds(Work&& work, Prepare&& prepare) {
    std::vector<cuda::Event> begin(repeats), end(repeats);
    for (int i = -warm; i < repeats; ++i) {
        const auto number = static_cast<std::size_t>(std::max(i, 0));
        prepare();
        if (waits_for_each_run)
            cuda::check(cudaStreamSynchronize(cuda::current_stream()), "cudaStreamSynchronize");
        begin[number].record();
        work();
        end[number].record();
        if (waits_for_each_run) end[number].synchronize();
    }
    std::vector<double> times;
    for (std::size_t i = 0; i < begin.size(); ++i) times.push_back(end[i].milliseconds_since(begin[i]));
    return median(times);
}
template <class Work>
double milliseconds(Work&& work) {
    return milliseconds(work, [] {});
}

struct Passes {
    double forward, backward;  ///< milliseconds
};

/// Times `f(0)` to `f(count - 1)`, given to the GPU together, which return tracked tensors of one type, and
/// their backward passes on random gradients.
template <class F>
Passes time_passes(F&& f, int count = 1) {
    using Y = decltype(f(0));
    using T = typename Y::value_type;
    const auto upstream = random<T, typename Y::shape_type>();
    std::vector<Y> results;
    const auto forward = [&] {
        for (int i = 0; i < count; ++i) results.push_back(f(i));
    };
    const auto forget = [&] { results.clear(); };
    const auto record = [&] {
        forget();
        forward();
        for (const Y& y : results)
            contribute_elements<T, Cuda>(upstream.data(), *Tape::current().slot(y.tracking()));
    };
    const double forward_time = milliseconds(forward, forget);
    return {forward_time, milliseconds([] { Tape::current().run_backward(); }, record)};
}

inline void print_row(const std::string& name, double value, const char* unit, const std::string& more = "") {
    std::printf("%s: %.*f %s%s\n", name.c_str(), value < 100 ? 2 : 0, value, unit, more.c_str());
    std::fflush(stdout);
}

/// Gigabytes a second, read and written, of copying 256 MiB.
inline double copy_rate() {
    static const double rate = [] {
        using X = Tensor<bf16, Shape<65'536, 2048>, Cuda>;
        const auto from = random<bf16, X::shape_type>(), to = X::uninitialized();
        const auto copy = [&] { Memory<Cuda>::copy(from.data(), from.size(), to.data()); };
        return 4.0 * static_cast<double>(from.size()) / milliseconds(copy) / 1e6;
    }();
    return rate;
}

/// The rate at which `bytes` were read and written, beside that of copying.
inline void print_bandwidth(const std::string& name, double bytes, double time) {
    const double rate = bytes / time / 1e6;
    char share[40];
    std::snprintf(share, sizeof(share), ", %.0f %% of copying", 100 * rate / copy_rate());
    print_row(name, rate, "GB/s", share);
}

}  // namespace bench
