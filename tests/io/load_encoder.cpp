#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/io/load_encoder.hpp>
#include <tenon/io/safetensors.hpp>
#include <tenon/model/bert.hpp>

using namespace tenon;

namespace {

/// A checkpoint of whose tensors only the names are known.
class Names {
public:
    using Entry = SafetensorsEntry;

    explicit Names(const std::vector<const char*>& names) {
        for (const char* name : names)
            entries_.push_back({.name = name, .type = {}, .shape = {}, .bytes = {}});
    }
    const Entry* find(std::string_view name) const {
        for (const Entry& entry : entries_)
            if (entry.name == name) return &entry;
        return nullptr;
    }
    template <class F>
    void for_each(F&& f) const {
        for (const Entry& entry : entries_) f(entry);
    }

private:
    std::vector<Entry> entries_;
};

}  // namespace

TEST_CASE("the heads of BERT's checkpoints are told by their names") {
    const auto heads = [](std::vector<const char*> names) { return heads_in(Names{names}, Bert::names); };
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
    const auto name = [](std::vector<const char*> names, const char* parameter) {
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
