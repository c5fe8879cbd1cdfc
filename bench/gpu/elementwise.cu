// Times what memory limits, in bf16, on [65536, 2048], weights of norms in f32, as models of mixed precision
// have them; RoPE on [32, 1024, 12, 64], ten at once, whose memory is more than the L2 cache holds.
//
//     elementwise
//
// Prints gigabytes a second of the forward and backward passes, and the share of the rate of copying. Each
// input, result and gradient counts once: what a pass can not do without. `kernels.py` has PyTorch's beside
// it.

#include "measure.hpp"

using namespace bench;

namespace {

using X = Shape<65'536, 2048>;
using W = Shape<2048>;

/// `reads`: the number of inputs of X's size.
template <class F>
void measure(const std::string& name, int reads, F&& f) {
    constexpr double bytes = 2.0 * 65'536 * 2048;
    const Passes times = time_passes([&](int) { return f(); });
    print_bandwidth(name + ", forward", (reads + 1) * bytes, times.forward);
    print_bandwidth(name + ", backward", (2 * reads + 1) * bytes, times.backward);
}

void measure_rope() {
    using S = Shape<32, 1024, 12, 64>;
    constexpr int count = 10;
    std::vector<Tensor<bf16, S, Cuda>> x;
    for (int i = 0; i < count; ++i) x.push_back(random<bf16, S>());
    const RotaryTable<float, Cuda> table(1024, 64, 10'000);
    const Passes times = time_passes(
        [&](int i) {
            return rotary(activation(x[static_cast<std::size_t>(i)]), table, RotaryPairs::interleaved);
        },
        count);
    const double bytes = count * 2 * 2.0 * static_cast<double>(x[0].size());
    print_bandwidth("RoPE, forward", bytes, times.forward);
    print_bandwidth("RoPE, backward", bytes, times.backward);
}

}  // namespace

int main() try {
    print_row("copy", copy_rate(), "GB/s");
    const auto x = random<bf16, X>(), y = random<bf16, X>();
    const auto gain = random<float, W>(), offset = random<float, W>();
    const auto bias = random<bf16, W>();
    measure("RMSNorm", 1, [&] { return rms_norm(activation(x), activation(gain)); });
    measure("LayerNorm", 1, [&] { return layer_norm(activation(x), activation(gain), activation(offset)); });
    measure("softmax", 1, [&] { return softmax(activation(x)); });
    measure("SwiGLU", 2, [&] { return evaluate(silu(activation(x)) * activation(y)); });
    measure("tanh(x * y + 0.5) * x - y", 2, [&] {
        const auto a = activation(x), b = activation(y);
        return evaluate(tanh(a * b + 0.5) * a - b);
    });
    measure("gelu(x + bias)", 1, [&] { return evaluate(gelu(activation(x) + activation(bias))); });
    measure_rope();
} catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
