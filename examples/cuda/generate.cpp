// Writes on after a prompt, with a model on a GPU: see ../generate.cpp.

#include "../generate.hpp"

int main(int count, char** values) { return generate<tenon::Cuda, tenon::MixedBf16>(count, values); }
