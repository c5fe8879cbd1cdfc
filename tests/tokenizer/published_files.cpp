#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "formats.hpp"
#include "tenon/tokenizer/write_tiktoken.hpp"
#include "tenon/tokenizer/write_tokenizer.hpp"

using tenon::Tokenizer;
using tokenizer_tests::Ids;

namespace {

const std::vector<std::string> texts = {"Hello, world!", " don't  CAN'T 12345\r\n\n\tx = 3.14;",
                                        "naïve café – Привет, мир 中文字 こんにちは 한국어",
                                        "😀👩‍👩‍👧 ½ Ⅷ ٣ नमस्ते ไทย",
                                        "   \n  antidisestablishmentarianism"};

struct Published {
    std::string file;
    std::vector<Ids> ids;  // of the texts
};

/// Of tiktoken 0.14 and Hugging Face tokenizers 0.23.
const std::vector<Published> published = {
    {"cl100k_base/cl100k_base.tiktoken",
     {{9906, 11, 1917, 0},
      {1541, 956, 220, 20076, 17773, 220, 4513, 1774, 81923, 10436, 284, 220, 18, 13, 975, 26},
      {3458, 38672, 588, 53050, 1389, 80584, 28089, 8341, 11, 11562, 78746, 73958, 88435, 220, 90115, 62398,
       89059, 255, 32179},
      {76460, 222,   9468,  239,   102,   378,   235,   9468,  239,   102,  378, 235,
       9468,  239,   100,   220,   27154, 220,   71567, 100,   220,   149,  96,  15272,
       101,   88344, 79468, 31584, 97,    35470, 220,   50856, 36984, 35609},
      {5996, 220, 3276, 85342, 34500, 479, 8997, 2191}}},
    {"llama3/tokenizer.json",
     {{9906, 11, 1917, 0},
      {1541, 956, 220, 20076, 17773, 220, 4513, 1774, 81923, 10436, 284, 220, 18, 13, 975, 26},
      {3458, 38672, 588, 53050, 1389, 80584, 28089, 8341, 11, 115388, 73958, 88435, 220, 90115, 104008,
       32179},
      {76460, 222,   9468, 239,   102, 102470, 9468,   239,    102,   102470, 9468,   239,   100,
       220,   27154, 220,  71567, 100, 220,    117413, 100282, 88344, 79468,  100365, 35470, 124554},
      {5996, 220, 3276, 85342, 34500, 479, 8997, 2191}}},
    {"gemma3/tokenizer.json",
     {{2, 9259, 236764, 1902, 236888},
      {2,      1537, 236789, 236745, 138,    43053, 236789, 236774, 236743, 236770, 236778, 236800, 236812,
       236810, 251,  108,    255968, 236781, 578,   236743, 236800, 236761, 236770, 236812, 236793},
      {2, 1789, 238527, 560, 33443, 1271, 15745, 8362, 236764, 58562, 17346, 31818, 79433, 50413, 237430},
      {2, 242398, 243767, 237243, 243767, 237243, 244814, 47041, 236743, 251329, 223766, 173040, 127604},
      {2, 139, 107, 138, 638, 33090, 163524, 8225, 1929}}},
};

}  // namespace

TEST_CASE("published tokenizers give their own ids, and so does what is written of them") {
    const char* folder = std::getenv("TENON_TOKENIZERS");
    if (!folder || !*folder) {
        // CTest shows the test as skipped for these words.
        MESSAGE("skipped: TENON_TOKENIZERS names no folder with published tokenizers");
        return;
    }
    for (const Published& one : published) {
        const std::string path = std::string(folder) + "/" + one.file;
        CAPTURE(path);
        if (!tenon::path_exists(path)) {
            MESSAGE("not there: " << path);
            continue;
        }
        const Tokenizer tokenizer = Tokenizer::load(path);
        const TemporaryFolder saved;
        tenon::write_tokenizer_json(tokenizer, saved / "tokenizer.json");
        const Tokenizer again = Tokenizer::load(saved.path());
        std::optional<Tokenizer> ranks;
        if (tokenizer.model().get_if<tenon::BytePair>()->has_byte_units()) {
            tenon::write_tiktoken(tokenizer, saved / "ranks");
            ranks = Tokenizer::load(saved / "ranks");
        }
        for (std::size_t i = 0; i < texts.size(); ++i) {
            CAPTURE(texts[i]);
            CHECK(tokenizer.encode_ids(texts[i]) == one.ids[i]);
            CHECK(tokenizer.decode(one.ids[i], {.skip_special_tokens = true}) == texts[i]);
            CHECK(again.encode_ids(texts[i]) == one.ids[i]);
            if (ranks)
                CHECK(ranks->encode_ids(texts[i]) ==
                      tokenizer.encode_ids(texts[i], {.add_special_tokens = false}));
        }
    }
}
