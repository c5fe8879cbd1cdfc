// Times causal attention in bf16, 16,384 tokens in all, heads · width = 2048.
//
//     attention
//
// Prints TFLOP/s of its forward and backward passes, counted as 2 · batch · heads · time² · width forward,
// which is what a causal mask leaves of the two products, and 2.5 times as many backward. The gradient is the
// same in every run. `kernels.py` has PyTorch's beside it. Then the microseconds of one token of latent
// attention.

#include "measure.hpp"

using namespace bench;

namespace {

template <int width, int time>
void measure() {
    constexpr int batch = 16'384 / time, heads = 2048 / width;
    using S = Shape<batch, time, heads, width>;
    const auto q = random<bf16, S>(), k = random<bf16, S>(), v = random<bf16, S>();
    const Passes times =
        time_passes([&](int) { return attention(activation(q), activation(k), activation(v)); });
    const double flops = 2.0 * batch * heads * time * time * width;
    const std::string name = "width " + std::to_string(width) + ", time " + std::to_string(time);
    print_row(name + ", forward", flops / times.forward / 1e9, "TFLOP/s");
    print_row(name + ", backward", 2.5 * flops / times.backward / 1e9, "TFLOP/s");
}

/// One token in DeepSeek's latent attention: its heads share the keys, 576 wide, and the values are their
/// first 512 elements. Stored are as many keys as the memory has room for.
template <int heads, int time>
void measure_latent() {
    const auto q = random<bf16, Shape<1, 1, heads, 576>>();
    const auto k = random<bf16, Shape<1, time, 1, 576>>();
    const auto v = slice<3, 0, 512>(k);
    const auto lengths = to_device<Cuda>(Tensor<int, Shape<1>>::of({time}));
    const double once = milliseconds([&] { attention(q, k, v, {}, Padding{lengths}); });
    print_row("latent, heads " + std::to_string(heads) + ", time " + std::to_string(time), 1e3 * once, "us");
}

}  // namespace

int main() try {
    measure<64, 1024>();
    measure<64, 4096>();
    measure<64, 16'384>();
    measure<128, 1024>();
    measure<128, 4096>();
    measure<128, 16'384>();
    measure_latent<16, 1024>();
    measure_latent<16, 16'384>();
    measure_latent<128, 4096>();
} catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
