// Talks with a model on a GPU: see ../chat.cpp.

#include "../chat.hpp"

int main(int count, char** values) {
    return chat(count, values, load_speaker<tenon::Cuda, tenon::MixedBf16>);
}
