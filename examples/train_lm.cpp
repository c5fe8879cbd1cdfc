// Trains a tokenizer and a Transformer on text, and leaves both in a folder that `generate` writes from. A
// run that was killed goes on from its last checkpoint with --resume, as if nothing had happened.
//
// The model's shape is a type: change the numbers of `Small` in learner.hpp and compile again.

#include "train_lm.hpp"

#include <tenon/tenon.hpp>

int main(int count, char** values) {
    return train_lm<tenon::Cpu, tenon::F32>(
        count, values, [] { return Place{std::to_string(tenon::thread_count()) + " threads"}; });
}
