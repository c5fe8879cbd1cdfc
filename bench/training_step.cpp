// Times a training step of CS336's TinyStories model on random tokens: batch 8, time 256, forward, backward,
// clipping and AdamW, in f32. Prints the median in milliseconds for each number of threads that is given (1
// and 2).

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <tenon/tenon.hpp>

using namespace tenon;

struct TinyStories : TransformerDefaults {
    static constexpr int vocabulary = 10'000, context = 256, width = 512, depth = 4, heads = 16,
                         hidden = 1344;
};

int main(int count, char** values) {
    std::vector<int> threads;
    for (int i = 1; i < count; ++i) threads.push_back(std::atoi(values[i]));
    if (threads.empty()) threads = {1, 2};

    Trainable<Transformer<TinyStories>> model{seed(42)};
    AdamW optimizer{model, {.rate = 1e-4}};
    const Philox random(seed(1));
    auto ids = Tensor<std::uint16_t, Shape<8, 256>>::uninitialized();
    for (std::int64_t i = 0; i < ids.size(); ++i)
        ids.data()[i] =
            static_cast<std::uint16_t>(random.below(TinyStories::vocabulary, static_cast<std::uint64_t>(i)));

    for (int number : threads) {
        set_thread_count(number);
        std::vector<double> runs;
        for (int run = 0; run < 6; ++run) {
            const double begin = monotonic_seconds();
            backward(cross_entropy(model(ids), ids));
            optimizer.clip(1.0);
            optimizer.step();
            if (run > 0) runs.push_back(1e3 * (monotonic_seconds() - begin));
        }
        std::sort(runs.begin(), runs.end());
        std::printf("%d threads: %.1f ms\n", number, runs[runs.size() / 2]);
    }
    std::printf("memory at its peak: %.0f MB\n", static_cast<double>(Memory<Cpu>::peak_bytes()) / 1e6);
}
