// Times optimizers on the parameters of GPT-2 124M (vocabulary 50,304) in f32, and clipping to a norm of 1.
//
//     optimizer
//
// Prints gigabytes a second, read and written, and the share of the rate of copying: of AdamW 28 bytes a
// parameter (parameter, gradient and two moments, of which the gradient is not written), of Lion 20, of the
// norm 4. Of Muon, whose products cost more than its memory, milliseconds. `kernels.py` has PyTorch's beside
// it.

#include "measure.hpp"

using namespace bench;

namespace {

struct Gpt2Small : Gpt2::Features {
    static constexpr int vocabulary = 50'304, context = 1024, width = 768, depth = 12, heads = 12,
                         hidden = 3072;
};
using Model = Transformer<Gpt2Small, Cuda, F32>;
constexpr auto count = static_cast<double>(parameter_count<Model>());

/// What a backward pass leaves: every gradient is there.
void announce_gradients(Trainable<Model>& model) {
    for_each_parameter(model, [](std::string_view, ParameterBase& parameter) {
        contribute<float, Cuda>(*parameter.gradient);
    });
}

template <class Optimizer>
double milliseconds_of_steps(Trainable<Model>& model, Optimizer&& optimizer, bool clips = false) {
    return milliseconds(
        [&] {
            if (clips) optimizer.clip(1.0);
            optimizer.step();
        },
        [&] { announce_gradients(model); });
}

}  // namespace

int main() try {
    Trainable<Model> model{seed(42)};
    announce_gradients(model);
    std::uint64_t stream = 0;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        Kernel<Initialize, Cuda>::run(NormalElements{1e-3, false, seed(1), stream++},
                                      static_cast<float*>(parameter.gradient->storage.data()),
                                      parameter.size());
    });
    {
        AdamW optimizer{model, {.rate = 1e-4}};
        print_bandwidth("norm", 4 * count, milliseconds([&] { optimizer.clip(1.0); }));
        print_bandwidth("AdamW", 28 * count, milliseconds_of_steps(model, optimizer));
        print_bandwidth("clipping and AdamW", 32 * count, milliseconds_of_steps(model, optimizer, true));
    }
    print_bandwidth("Lion", 20 * count, milliseconds_of_steps(model, Lion{model, {.rate = 1e-5}}));
    Muon muon{model, {.rate = 1e-4}};
    print_row("Muon, products in f32", milliseconds_of_steps(model, muon), "ms");
    cuda::matmul_settings().float32 = cuda::Float32Products::tf32;
    print_row("Muon, products in TF32", milliseconds_of_steps(model, muon), "ms");
} catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
