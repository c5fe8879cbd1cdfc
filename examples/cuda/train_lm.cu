// What of train_lm runs on a GPU: the only part that nvcc compiles.

#include <tenon/cuda.hpp>

#include "../learner.hpp"

template class Learner<tenon::Cuda, tenon::MixedBf16>;
