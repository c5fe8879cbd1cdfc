#pragma once

#include <tenon/cuda/handles.hpp>
#include <tenon/inference/generator.hpp>
#include <tenon/model/transformer.hpp>

struct Small : tenon::TransformerDefaults {
    static constexpr int vocabulary = 64, context = 32, width = 32, depth = 2, heads = 2, hidden = 64;
};
using Model = tenon::Transformer<Small, tenon::Cuda, tenon::MixedBf16>;

// Instantiated in model.cu, the one file that nvcc compiles.
extern template class tenon::Transformer<Small, tenon::Cuda, tenon::MixedBf16>;
extern template class tenon::Generator<Model>;
