// Talks with a model: a checkpoint's folder in Hugging Face's form, or a GGUF file, of any supported
// architecture, with the tokenizer, chat template and settings that it comes with.

#include "chat.hpp"

int main(int count, char** values) {
    return chat(count, values, load_speaker<tenon::Cpu, tenon::StoredWeights>);
}
