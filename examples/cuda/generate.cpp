// Writes on after a prompt, with a model on a GPU: see ../generate.cpp.

#include "../generate.hpp"

#include <tenon/cuda/handles.hpp>

#include "generators.hpp"

int main(int count, char** values) { return generate<tenon::Cuda, tenon::MixedBf16>(count, values); }
