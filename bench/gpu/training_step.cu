// Times a training step on random tokens: forward and backward passes, clipping to a norm of 1, and AdamW, in
// bf16 with master weights in f32.
//
//     training_step gpt2|llama|tinystories|xl|olmoe [STEPS] [--eager]
//
// gpt2: GPT-2 124M, vocabulary 50,304, batch 32, time 1024. llama: Llama's features in the dimensions of
// GPT-2 124M, vocabulary 32,000, batch 64, time 512. tinystories: CS336's model, batch 256, time 256. xl: 48
// layers of width 1600, batch 8, time 512. olmoe: four layers of OLMoE-1B-7B, batch 4, time 4096. Prints the
// median of the steps (15), timed by events after 4 that are not; what one token costs is counted as 6 ·
// active parameters + 12 · layers · width · time. --eager gives the GPU kernel by kernel what is else a
// replayed graph.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include <tenon/cuda.hpp>
#include <tenon/cuda/peak.hpp>
#include <tenon/model/accounting.hpp>

using namespace tenon;

namespace {

struct Gpt2Small : Gpt2::Features {
    static constexpr int vocabulary = 50'304, context = 1024, width = 768, depth = 12, heads = 12,
                         hidden = 3072;
};
struct LlamaSmall : TransformerDefaults {
    static constexpr int vocabulary = 32'000, context = 512, width = 768, depth = 12, heads = 12,
                         hidden = 2048;
};
struct TinyStories : TransformerDefaults {
    static constexpr int vocabulary = 10'000, context = 256, width = 512, depth = 4, heads = 16,
                         hidden = 1344;
};
struct Xl : TransformerDefaults {
    static constexpr int vocabulary = 32'000, context = 512, width = 1600, depth = 48, heads = 25,
                         hidden = 4288;
};
struct OlmoESmall : OlmoE::Features {
    static constexpr int vocabulary = 50'304, context = 4096, width = 2048, depth = 4, heads = 16,
                         hidden = 1024, experts = 64, experts_per_token = 8;
};

template <class C, int batch>
void measure(const char* name, int steps, bool is_eager) {
    using Model = Transformer<C, Cuda, MixedBf16>;
    constexpr int time = C::context, warm = 4;
    Trainable<Model> model{seed(42)};
    AdamW optimizer{model, {.rate = 1e-4}};
    const Philox random(seed(1));
    std::vector<std::uint16_t> tokens(1 << 20);
    for (std::size_t i = 0; i < tokens.size(); ++i)
        tokens[i] = static_cast<std::uint16_t>(random.below(C::vocabulary, i));
    const RandomBatches<batch, time, std::uint16_t> batches(tokens, seed(2));
    Trainer trainer(model, optimizer, batches, {.replays = !is_eager});

    std::vector<cuda::Event> events(static_cast<std::size_t>(steps) + 1);
    double loss = 0;
    for (int step = 0; step < warm + steps; ++step) {
        if (step == warm) events[0].record();
        trainer.step(step);
        if (step >= warm) events[static_cast<std::size_t>(step - warm) + 1].record();
        if (const auto report = trainer.report()) loss = report->loss;
    }
    std::vector<float> times;
    for (std::size_t i = 1; i < events.size(); ++i)
        times.push_back(events[i].milliseconds_since(events[i - 1]));
    std::sort(times.begin(), times.end());
    const double milliseconds = times[times.size() / 2], rate = batch * time / milliseconds * 1e3;
    // Of a mixture of experts, those that a token does not take.
    const double idle = 3.0 * C::depth * (C::experts - C::experts_per_token) * C::width * C::hidden;
    const double flops =
        6.0 * (static_cast<double>(parameter_count<Model>()) - idle) + 12.0 * C::depth * C::width * time;
    const auto peak = cuda::dense_peak_flops(cuda::device_properties().name);
    std::printf(
        "%s B%d T%d: %.0f tok/s, %.2f ms (%.2f to %.2f), MFU %.1f %%, peak memory %.2f GiB (%.2f GiB taken), "
        "loss %.4f%s\n",
        name, batch, time, rate, milliseconds, times.front(), times.back(),
        peak ? 100 * model_flops_utilization(flops, rate, *peak) : 0,
        static_cast<double>(Memory<Cuda>::peak_bytes()) / (1 << 30),
        static_cast<double>(Memory<Cuda>::reserved_bytes()) / (1 << 30), loss, is_eager ? ", eager" : "");
}

}  // namespace

int main(int count, char** values) try {
    const std::string_view name = count > 1 ? values[1] : "";
    const bool is_eager = count > 1 && std::string_view(values[count - 1]) == "--eager";
    const int steps = count > 2 && std::atoi(values[2]) > 0 ? std::atoi(values[2]) : 15;
    std::printf(
        "%s; bf16: weights, residual stream and gradients of activations; f32: gradients of weights, their "
        "master copy and moments\n",
        cuda::device_properties().name.c_str());
    if (name == "gpt2") {
        measure<Gpt2Small, 32>("gpt2", steps, is_eager);
    } else if (name == "llama") {
        measure<LlamaSmall, 64>("llama", steps, is_eager);
    } else if (name == "tinystories") {
        measure<TinyStories, 256>("tinystories", steps, is_eager);
    } else if (name == "xl") {
        measure<Xl, 8>("xl", steps, is_eager);
    } else if (name == "olmoe") {
        measure<OlmoESmall, 4>("olmoe", steps, is_eager);
    } else {
        std::fprintf(stderr, "usage: training_step gpt2|llama|tinystories|xl|olmoe [STEPS] [--eager]\n");
        return 1;
    }
} catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
