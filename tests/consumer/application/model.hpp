#pragma once

#include <tenon/inference/generator.hpp>
#include <tenon/model/transformer.hpp>

struct Small : tenon::TransformerDefaults {
    static constexpr int vocabulary = 64, context = 32, width = 32, depth = 2, heads = 2, hidden = 64;
};
using Model = tenon::Transformer<Small>;

// Instantiated in model.cpp, the one file that pays for kernels.
extern template class tenon::Transformer<Small>;
extern template class tenon::Generator<Model>;
