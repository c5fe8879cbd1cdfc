// CS336's tokenizer with GPT-2's own files against tiktoken's.

#include <cstdlib>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tokenizer_values.hpp"

using namespace cs336;

TEST_CASE("with GPT-2's files encode gives tiktoken's ids") {
    const char* folder = std::getenv("TENON_GPT2");
    if (!folder || !*folder) {
        // CTest shows the test as skipped for these words.
        MESSAGE("skipped: TENON_GPT2 names no folder with GPT-2's vocab.json and merges.txt");
        return;
    }
    const Tokenizer tokenizer(read_gpt2_files(folder));
    for (const std::string& name : text_names) {
        CAPTURE(name);
        const std::string sample = text("text." + name);
        CHECK(tokenizer.encode_ids(sample) == ids("gpt2." + name));
        CHECK(tokenizer.decode(ids("gpt2." + name)) == sample);
    }
}
