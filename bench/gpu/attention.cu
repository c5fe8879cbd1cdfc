// Times causal attention in bf16, 16,384 tokens in all, heads · width = 2048.
//
//     attention
//
// Prints TFLOP/s of its forward and backward passes, counted as 2 · batch · heads · time² · width forward,
// which is what a causal mask leaves of the two products, and 2.5 times as many backward. The gradient is the
// same in every run. `kernels.py` has PyTorch's beside it.

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

}  // namespace

int main() try {
    measure<64, 1024>();
    measure<64, 4096>();
    measure<64, 16'384>();
    measure<128, 1024>();
    measure<128, 4096>();
    measure<128, 16'384>();
} catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
