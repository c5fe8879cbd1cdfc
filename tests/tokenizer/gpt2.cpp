#include <cstdlib>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tenon/tokenizer/tokenizer.hpp"
#include "tenon/tokenizer/vocabulary_files.hpp"

using tenon::TokenId;
using tenon::Tokenizer;

namespace {

struct KnownAnswer {
    std::string text;
    std::vector<TokenId> ids;
};

/// Of tiktoken 0.14, with the special token allowed.
const std::vector<KnownAnswer> known_answers = {
    {"", {}},
    {"Hello, world!", {15496, 11, 995, 0}},
    {" The quick brown fox jumps over the lazy dog.",
     {383, 2068, 7586, 21831, 18045, 625, 262, 16931, 3290, 13}},
    {"don't they'll I've we're it's CAN'T",
     {9099, 470, 484, 1183, 314, 1053, 356, 821, 340, 338, 15628, 6, 51}},
    {"x  = 3.14159 +  42;\n\n\treturn  x;\n",
     {87, 220, 796, 513, 13, 1415, 19707, 1343, 220, 5433, 26, 628, 197, 7783, 220, 2124, 26, 198}},
    {"   leading and trailing   ", {220, 220, 3756, 290, 25462, 220, 220, 220}},
    {"naïve café – “quotes”", {2616, 38776, 40304, 784, 564, 250, 421, 6421, 447, 251}},
    {"Привет, мир", {140, 253, 21169, 18849, 38857, 16843, 20375, 11, 12466, 120, 18849, 21169}},
    {"こんにちは世界 한국어",
     {46036, 22174, 28618, 2515, 94, 31676, 10310, 244, 45911, 234, 220, 47991, 250, 166, 113, 255, 168, 244,
      112}},
    {"🙂👩‍👩‍👧 ½ Ⅷ ٣",
     {8582, 25081, 41840, 102, 447, 235, 41840, 102, 447, 235, 41840, 100, 25208, 2343, 227, 100, 18923, 96}},
    {"<|endoftext|>a<|endoftext|>", {50256, 64, 50256}},
    {"antidisestablishmentarianism 1234567890", {415, 29207, 44390, 3699, 1042, 17031, 2231, 30924, 3829}},
};

}  // namespace

TEST_CASE("GPT-2's own files give GPT-2's ids") {
    const char* folder = std::getenv("TENON_GPT2");
    if (!folder || !*folder) {
        // CTest shows the test as skipped for these words.
        MESSAGE("skipped: TENON_GPT2 names no folder with GPT-2's vocab.json and merges.txt");
        return;
    }
    const Tokenizer tokenizer(tenon::read_gpt2_files(folder));
    CHECK(tokenizer.vocabulary_size() == 50257);
    for (const auto& [text, ids] : known_answers) {
        CAPTURE(text);
        CHECK(tokenizer.encode_ids(text) == ids);
        CHECK(tokenizer.decode(ids) == text);
    }
}
