#include <cstdio>

#include <tenon/cuda/device.hpp>

#include "model.hpp"

int main() {
    if (tenon::cuda::device_count() == 0) {
        std::puts("skipped: there is no GPU that CUDA can use");
        return 0;
    }
    const Model model(tenon::seed(1));
    tenon::Generator generator(model, {.temperature = 0}, tenon::seed(1));
    const std::int32_t prompt[] = {1, 2, 3};
    generator.feed(prompt);
    const std::int32_t token = generator.next();
    std::printf("%d\n", token);
    return token >= 0 && token < Small::vocabulary ? 0 : 1;
}
