// The training of CS336's tokenizer against one that counts all pairs anew for each merge.

#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/io/atomic_file.hpp>

#include "../io/temporary_folder.hpp"
#include "tokenizer_values.hpp"

using namespace cs336;

namespace {

Tokenizer trained() {
    const TemporaryFolder folder;
    write_file(folder / "text", text("bpe.text"));
    return run_train_bpe(folder / "text", 600, {end_of_text});
}

std::vector<std::string> sorted(std::vector<std::string> tokens) {
    std::sort(tokens.begin(), tokens.end());
    return tokens;
}

}  // namespace

TEST_CASE("run_train_bpe learns the reference's merges in the reference's order") {
    CHECK(byte_pair_merges(trained()) == reference_merges());
}

TEST_CASE("run_train_bpe's vocabulary is the reference's, as a set") {
    const Tokenizer tokenizer = trained();
    REQUIRE(tokenizer.vocabulary_size() == 600);
    std::vector<std::string> tokens, expected = reference_vocabulary();
    expected.push_back(end_of_text);
    for (TokenId id = 0; id < 600; ++id) tokens.emplace_back(tokenizer.token_bytes(id));
    CHECK(sorted(tokens) == sorted(expected));
}

TEST_CASE("run_train_bpe never merges a special token, nor across one") {
    for (const auto& [left, right] : byte_pair_merges(trained())) {
        const std::string token = left + right;
        CAPTURE(token);
        CHECK(token.find("<|") == std::string::npos);
    }
}
