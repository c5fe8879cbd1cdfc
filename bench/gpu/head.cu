// Times a language model's head with its loss in bf16: the product of 16,384 hidden states with a vocabulary
// of 50,304, and the cross-entropy, forward and backward.
//
//     head [TABLE]
//
// TABLE: a file of timed choices of matrix products; where it is not there it is made first. Prints TFLOP/s,
// counted as three products, and the most memory that tensors took at once, hidden states, weights (bf16) and
// their gradients (bf16; f32) included. `kernels.py` has PyTorch's beside it.

#include <tenon/cuda/cublaslt_table.hpp>
#include <tenon/io/file.hpp>

#include "measure.hpp"

using namespace bench;

namespace {

template <int width>
void measure() {
    constexpr int tokens = 16'384, vocabulary = 50'304;
    const auto hidden = random<bf16, Shape<tokens, width>>();
    Parameter<bf16, Shape<vocabulary, width>, Cuda> head(Role::head);
    Kernel<Initialize, Cuda>::run(NormalElements{0.02, false, seed(2), 0}, head.value().data(), head.size());
    std::vector<std::uint16_t> ids(tokens);
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = static_cast<std::uint16_t>(Philox(seed(3)).below(vocabulary, i));
    const auto targets = Tensor<std::uint16_t, Shape<tokens>, Cuda>::from(ids);
    const auto step = [&] {
        head.clear_gradient();
        backward(cross_entropy(Logits(activation(hidden), head.tensor()), targets));
    };
    Memory<Cuda>::reset_peak();
    const double time = milliseconds(step);
    const std::string name = "width " + std::to_string(width);
    print_row(name, 6.0 * tokens * vocabulary * width / time / 1e9, "TFLOP/s",
              ", " + std::to_string(time).substr(0, 5) + " ms");
    print_row(name + ", memory", static_cast<double>(Memory<Cuda>::peak_bytes()) / (1 << 30), "GiB");
}

}  // namespace

int main(int count, char** values) try {
    if (count > 1 && !path_exists(values[1])) {
        {
            const cuda::MatmulTable::Tuning tuning;
            measure<768>();
            measure<2048>();
        }
        cuda::MatmulTable::save(values[1]);
        std::printf("wrote %s\n", values[1]);
    } else if (count > 1) {
        cuda::MatmulTable::load(values[1]);
    }
    measure<768>();
    measure<2048>();
} catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
