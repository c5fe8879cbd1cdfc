// Times a model whose extents are types beside the same with every extent read at run time: prompt, decoding
// token by token with the cache, and a training step, in f32 on one thread.
//
//     static_and_dynamic [ROUNDS]
//
// Both take turns, round after round (7). Prints speeds by the least processor time of all rounds, as other
// programs only add to it, and that of the dynamic model over that of the static one.

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

#include <tenon/tenon.hpp>

using namespace tenon;

namespace {

/// As SmolLM2-135M.
struct Middle : TransformerDefaults {
    static constexpr int vocabulary = 49'152, context = 512, width = 576, depth = 30, heads = 9,
                         key_value_heads = 3, hidden = 1536;
    static constexpr bool tied = true;
    static constexpr RotaryPairs rotary_pairs = RotaryPairs::half_split;
};

/// As train_lm's.
struct Small : TransformerDefaults {
    static constexpr int vocabulary = 2048, context = 512, width = 192, depth = 4, heads = 6, hidden = 512;
    static constexpr RotaryPairs rotary_pairs = RotaryPairs::half_split;
};

constexpr int prompt_length = 128, written = 64, batch = 2, time_steps = 64;
using Times = std::array<double, 3>;  // of the prompt, of a token, of a training step: seconds

double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

template <class Model, class S>
class Runner {
public:
    explicit Runner(const TransformerSizes& sizes)
        : trainable_(seed(1), sizes), optimizer_(trainable_, {.rate = 1e-4}), model_(trainable_) {
        const Philox random(seed(2));
        for (std::int64_t i = 0; i < ids_.size(); ++i)
            ids_.data()[i] = static_cast<std::int32_t>(
                random.below(static_cast<std::uint32_t>(sizes.vocabulary), static_cast<std::uint64_t>(i)));
    }

    Times run() {
        Times times;
        Generator generator(model_, {.temperature = 0});
        generator.feed({ids_.data(), prompt_length});
        double begin = processor_seconds();
        generator.next();
        times[0] = processor_seconds() - begin;

        begin = processor_seconds();
        for (int i = 0; i < written; ++i) generator.next();
        times[1] = (processor_seconds() - begin) / written;

        begin = processor_seconds();
        backward(cross_entropy(trainable_(ids_), ids_));
        optimizer_.clip(1.0);
        optimizer_.step();
        times[2] = processor_seconds() - begin;
        return times;
    }

private:
    Trainable<Model> trainable_;
    decltype(AdamW(std::declval<Trainable<Model>&>())) optimizer_;
    Model model_;
    Tensor<std::int32_t, S> ids_ = Tensor<std::int32_t, S>::with_extents(Extents(batch, time_steps));
};

template <class C>
void measure(const char* name, int rounds) {
    using Open = DynamicTransformer<TransformerDefaults>;
    Runner<Transformer<C>, Shape<batch, time_steps>> exact(sizes_of<C>());
    Runner<Transformer<Open>, Shape<dyn, dyn>> open(sizes_of<C>());
    exact.run();
    open.run();
    Times of_exact = exact.run(), of_open = open.run();
    for (int round = 1; round < rounds; ++round) {
        const Times a = exact.run(), b = open.run();
        for (std::size_t i = 0; i < a.size(); ++i) {
            of_exact[i] = std::min(of_exact[i], a[i]);
            of_open[i] = std::min(of_open[i], b[i]);
        }
    }
    const std::pair<const char*, int> rows[] = {
        {"prompt", prompt_length}, {"decoding", 1}, {"training step", batch * time_steps}};
    for (std::size_t i = 0; i < of_exact.size(); ++i) {
        const double a = rows[i].second / of_exact[i], b = rows[i].second / of_open[i];
        std::printf("| %s, %s | %.1f tok/s | %.1f tok/s | %.3f |\n", name, rows[i].first, a, b, b / a);
    }
    std::fflush(stdout);
}

}  // namespace

int main(int count, char** values) {
    const int rounds = count > 1 ? std::atoi(values[1]) : 7;
    set_thread_count(1);
    std::printf("| | static | dynamic | ratio |\n|---|---|---|---|\n");
    measure<Small>("width 192, 4 blocks", rounds);
    measure<Middle>("SmolLM2-135M", rounds);
}
