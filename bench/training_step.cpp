// Times a training step on random tokens: forward, backward, clipping and AdamW, in f32.
//
//     training_step tinystories|gpt2 [THREADS...]
//
// tinystories: CS336's model, batch 8, time 256. gpt2: GPT-2 124M, batch 4, time 64. Prints the median in
// milliseconds for each number of threads that is given (1 and 2), and the most memory that the process had,
// beyond 16 bytes a parameter (weights, gradients, two moments).

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <sys/resource.h>
#include <vector>

#include <tenon/model/gpt2.hpp>
#include <tenon/tenon.hpp>

using namespace tenon;

namespace {

struct TinyStories : TransformerDefaults {
    static constexpr int vocabulary = 10'000, context = 256, width = 512, depth = 4, heads = 16,
                         hidden = 1344;
};
struct Gpt2Small : Gpt2::Features {
    static constexpr int vocabulary = 50'257, context = 1024, width = 768, depth = 12, heads = 12,
                         hidden = 3072;
};

template <class C, int batch, int time>
void measure(const std::vector<int>& threads) {
    using Model = Transformer<C>;
    Trainable<Model> model{seed(42)};
    AdamW optimizer{model, {.rate = 1e-4}};
    const Philox random(seed(1));
    auto ids = Tensor<std::uint16_t, Shape<batch, time>>::uninitialized();
    for (std::int64_t i = 0; i < ids.size(); ++i)
        ids.data()[i] =
            static_cast<std::uint16_t>(random.below(C::vocabulary, static_cast<std::uint64_t>(i)));

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
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const double parameters = 16.0 * static_cast<double>(parameter_count<Model>());
    std::printf("memory beyond 16 bytes a parameter: %.0f MB\n",
                (1024.0 * static_cast<double>(usage.ru_maxrss) - parameters) / 1e6);
}

}  // namespace

int main(int count, char** values) {
    const std::string_view name = count > 1 ? values[1] : "";
    std::vector<int> threads;
    for (int i = 2; i < count; ++i) threads.push_back(std::atoi(values[i]));
    if (threads.empty()) threads = {1, 2};
    if (name == "tinystories") {
        measure<TinyStories, 8, 256>(threads);
    } else if (name == "gpt2") {
        measure<Gpt2Small, 4, 64>(threads);
    } else {
        std::fprintf(stderr, "usage: training_step tinystories|gpt2 [THREADS...]\n");
        return 1;
    }
}
