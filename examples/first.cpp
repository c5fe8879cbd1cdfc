// A linear layer is fitted to one example by gradient descent. The README shows this program and what it
// prints.

#include <iostream>

#include <tenon/tenon.hpp>
using namespace tenon;

int main() {
    auto x = Tensor<float, Shape<2, 3>>::of({1, 2, 3, 4, 5, 6});
    auto y = Tensor<float, Shape<2, 1>>::of({1, -1});
    Parameter<float, Shape<3, 1>> weight{Tensor<float, Shape<3, 1>>::zeros()};
    for (int step = 0; step < 200; ++step) {
        auto loss = mean(square(matmul(x, weight) - y));
        backward(loss);
        Tensor better = weight.value() - 0.02f * weight.accumulated_gradient();
        copy_to(weight.value(), better);
        weight.clear_gradient();
        if (step % 50 == 0) std::cout << "step " << step << ": loss " << loss.item() << '\n';
    }
    std::cout << matmul(x, weight.value()) << '\n';
}
