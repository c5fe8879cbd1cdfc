#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>

#include <doctest/doctest.h>

#include <tenon/cuda/device.hpp>

// As tests/main.cpp, but where there is no GPU nothing is run, and nothing passes.
int main(int count, char** values) {
    if (tenon::cuda::device_count() == 0) {
        std::puts("skipped: there is no GPU that CUDA can use");
        return 77;
    }
    return doctest::Context(count, values).run();
}
