#pragma once

#include <tenon/inference/generator.hpp>
#include <tenon/model/gpt2.hpp>
#include <tenon/model/llama.hpp>
#include <tenon/model/transformer.hpp>

template <class Features>
using OnGpu = tenon::Transformer<tenon::DynamicTransformer<Features>, tenon::Cuda, tenon::MixedBf16>;

// Compiled in generate.cu, one for all architectures with the same features.
extern template class tenon::Generator<OnGpu<tenon::Gpt2::Features>>;
extern template class tenon::Generator<OnGpu<tenon::Llama::Features>>;
