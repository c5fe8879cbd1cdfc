#include <cstdio>

#include <tenon/expression/cpu.hpp>
#include <tenon/expression/evaluate.hpp>
#include <tenon/expression/functions.hpp>

int main() {
    using namespace tenon;
    const auto x = Tensor<float, Shape<2, 3>>::filled(2.0f);
    const Tensor y = x * x + 1;
    std::printf("%g\n", y(1, 2));
    return y(1, 2) == 5.0f ? 0 : 1;
}
