// Trains a tokenizer and a Transformer on text, the model on a GPU: see ../train_lm.cpp.

#include "../train_lm.hpp"

#include <tenon/cuda/device.hpp>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/peak.hpp>

extern template class Learner<Cuda, MixedBf16>;  // train_lm.cu

int main(int count, char** values) {
    return train_lm<Cuda, MixedBf16>(count, values, [] {
        const std::string& name = cuda::device_properties().name;
        return Place{name, cuda::dense_peak_flops(name).value_or(0)};
    });
}
