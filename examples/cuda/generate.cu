// What of generate runs on a GPU: the only part that nvcc compiles.

#include <tenon/cuda.hpp>

#include "generators.hpp"

template class tenon::Generator<OnGpu<tenon::Gpt2::Features>>;
template class tenon::Generator<OnGpu<tenon::Llama::Features>>;
