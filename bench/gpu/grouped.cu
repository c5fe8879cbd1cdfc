// Times products of groups of rows with a matrix for each group, in bf16: 131,072 rows in 64 groups, equal
// ones and others, [2048, 2048] each.
//
//     grouped
//
// Prints TFLOP/s of the product and of both its gradients, that of the weights in bf16 and added in f32, each
// one launch. `kernels.py` has PyTorch's beside it.

#include <numeric>

#include "measure.hpp"

using namespace bench;

namespace {

constexpr int groups = 64, rows = 131'072, in = 2048, out = 2048;

void measure(const std::string& name, const std::vector<std::int32_t>& begins) {
    using X = Tensor<bf16, Shape<rows, in>, Cuda>;
    using Y = Tensor<bf16, Shape<rows, out>, Cuda>;
    using Weight = Tensor<bf16, Shape<groups, out, in>, Cuda>;
    const auto x = random<bf16, X::shape_type>();
    const auto weight = random<bf16, Weight::shape_type>();
    const auto upstream = random<bf16, Y::shape_type>();
    const auto y = Y::uninitialized();
    const auto of_x = X::uninitialized();
    const auto of_weight = Weight::uninitialized();
    const auto wide = Tensor<float, Weight::shape_type, Cuda>::zeros();
    const auto on_device = Tensor<std::int32_t, Shape<groups + 1>, Cuda>::from(begins);
    const RowGroups given{on_device.data(), groups, rows};
    using Product = Kernel<GroupedMatmul, Cuda>;
    const auto print = [&](const std::string& what, const auto& run) {
        print_row(name + what, 2.0 * rows * in * out / milliseconds(run) / 1e9, "TFLOP/s");
    };
    const auto to = []<class T>(const T& tensor) {
        return const_cast<typename T::value_type*>(tensor.data());
    };
    print("product", [&] { Product::forward(given, in, out, x.data(), weight.data(), to(y)); });
    print("gradient of rows", [&] {
        Product::gradient_rows(given, in, out, upstream.data(), weight.data(),
                               Contribution<bf16>{to(of_x), false});
    });
    print("gradient of weights", [&] {
        Product::gradient_weight(given, in, out, upstream.data(), x.data(),
                                 Contribution<bf16>{to(of_weight), false});
    });
    print("gradient of weights, added in f32", [&] {
        Product::gradient_weight(given, in, out, upstream.data(), x.data(),
                                 Contribution<bf16>{nullptr, true, to(wide)});
    });
}

}  // namespace

int main() try {
    std::vector<std::int32_t> equal, other{0};
    for (int i = 0; i <= groups; ++i) equal.push_back(i * (rows / groups));
    // From 1,024 to 3,072 rows.
    for (int i = 0; i < groups; ++i)
        other.push_back(other.back() + 2048 + (i % 2 ? -64 : 64) * (i * 7 / 2 % 17));
    other.back() = rows;
    measure("", equal);
    measure("uneven groups, ", other);
} catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
