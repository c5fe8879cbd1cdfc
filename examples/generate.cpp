// Writes on after a prompt, with the tokenizer and model of a folder: `train_lm`'s, or any supported
// checkpoint's beside GPT-2's tokenizer files. All shapes are read from the folder.

#include "generate.hpp"

int main(int count, char** values) { return generate<tenon::Cpu, tenon::StoredWeights>(count, values); }
