#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/io/load_encoder.hpp>
#include <tenon/model/bert.hpp>

using namespace tenon;

namespace {

/// The names of a checkpoint's tensors.
struct Names {
    std::vector<std::string> all;
    const std::string* find(std::string_view name) const {
        const auto at = std::find(all.begin(), all.end(), name);
        return at == all.end() ? nullptr : &*at;
    }
};

}  // namespace

TEST_CASE("the heads of BERT's checkpoints are told by their names") {
    const auto heads = [](std::vector<std::string> names) { return heads_in(Names{names}, Bert::names); };
    CHECK(heads({"embeddings.word_embeddings.weight"}) == EncoderHeads{});
    CHECK(heads({"embeddings.word_embeddings.weight", "pooler.dense.weight"}) ==
          EncoderHeads{.pooler = true});
    CHECK(heads({"bert.embeddings.word_embeddings.weight", "cls.predictions.bias"}) ==
          EncoderHeads{.predictions = true});
    CHECK(heads({"bert.embeddings.word_embeddings.weight", "bert.pooler.dense.weight", "cls.predictions.bias",
                 "cls.predictions.decoder.bias", "cls.predictions.decoder.weight"}) ==
          EncoderHeads{.pooler = true, .predictions = true});
}

TEST_CASE("a head's bias has the name that the file has, and norms have") {
    const auto name = [](std::vector<std::string> names, const char* parameter) {
        return checkpoint_name(detail::names_in(Names{names}, Bert::names), parameter);
    };
    CHECK(name({"cls.predictions.bias"}, "head.bias") == "cls.predictions.bias");
    CHECK(name({"cls.predictions.bias", "cls.predictions.decoder.weight"}, "head.bias") ==
          "cls.predictions.bias");
    CHECK(name({"cls.predictions.bias", "cls.predictions.decoder.bias"}, "head.bias") ==
          "cls.predictions.decoder.bias");
    CHECK(name({"bert.embeddings.LayerNorm.gamma"}, "blocks.1.attention_norm.bias") ==
          "bert.encoder.layer.1.attention.output.LayerNorm.beta");
    CHECK(name({"bert.embeddings.LayerNorm.gamma"}, "blocks.1.attention.query.bias") ==
          "bert.encoder.layer.1.attention.self.query.bias");
    CHECK(name({"bert.embeddings.LayerNorm.weight"}, "head.norm.gain") ==
          "cls.predictions.transform.LayerNorm.weight");
}
