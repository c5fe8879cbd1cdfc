#include <tenon/cuda.hpp>

#include "model.hpp"

template class tenon::Transformer<Small, tenon::Cuda, tenon::MixedBf16>;
template class tenon::Generator<Model>;
