#include <cstdio>
#include <initializer_list>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <tenon/io/folder.hpp>
#include <tenon/io/sentence_options.hpp>

#include "../gguf_file.hpp"
#include "temporary_folder.hpp"
#include "thrown_message.hpp"

using namespace tenon;

namespace {

void write(const std::string& path, const std::string& text) {
    create_folder(folder_of(path));
    std::FILE* file = std::fopen(path.c_str(), "wb");
    REQUIRE(file);
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
}

/// modules.json of modules of these types, each in the folder that follows.
std::string modules(std::initializer_list<std::pair<const char*, const char*>> list) {
    std::string text;
    for (const auto& [type, path] : list)
        text += std::string(text.empty() ? "[" : ", ") + R"({"type": "sentence_transformers.models.)" + type +
                R"(", "path": ")" + path + R"("})";
    return text + "]";
}

}  // namespace

TEST_CASE("a folder of sentence-transformers says where its model is, and how to pool") {
    const TemporaryFolder folder;
    write(
        folder / "modules.json",
        modules({{"Transformer", "0_Transformer"}, {"Pooling", "1_Pooling"}, {"Normalize", "2_Normalize"}}));
    write(folder / "0_Transformer/sentence_bert_config.json",
          R"({"max_seq_length": 256, "do_lower_case": false})");
    write(folder / "0_Transformer/tokenizer_config.json", R"({"model_max_length": 512})");
    write(folder / "1_Pooling/config.json",
          R"({"word_embedding_dimension": 384, "pooling_mode_cls_token": false,
              "pooling_mode_mean_tokens": false, "pooling_mode_max_tokens": true})");
    SentenceOptions options = read_sentence_options(folder.path());
    CHECK(options.model == folder / "0_Transformer");
    CHECK(options.pooling == Pooling::max);
    CHECK(options.normalized);
    CHECK(options.longest == 256);

    // As newer versions write it:
    write(folder / "modules.json", modules({{"Transformer", ""}, {"Pooling", "1_Pooling"}}));
    write(folder / "sentence_bert_config.json", R"({"transformer_task": "feature-extraction"})");
    write(folder / "tokenizer_config.json", R"({"model_max_length": 128})");
    write(folder / "1_Pooling/config.json", R"({"embedding_dimension": 384, "pooling_mode": "cls"})");
    options = read_sentence_options(folder.path());
    CHECK(options.model == folder.path());
    CHECK(options.pooling == Pooling::first);
    CHECK_FALSE(options.normalized);
    CHECK(options.longest == 128);
    write(folder / "tokenizer_config.json", R"({"model_max_length": 1000000000000000019884624838656})");
    CHECK(read_sentence_options(folder.path()).longest == 0);
}

TEST_CASE("a folder without modules is pooled by the mean") {
    const TemporaryFolder folder;
    const SentenceOptions options = read_sentence_options(folder.path());
    CHECK(options.model == folder.path());
    CHECK(options.pooling == Pooling::mean);
    CHECK_FALSE(options.normalized);
    CHECK(options.longest == 0);
}

TEST_CASE("modules and settings that are not supported are named") {
    const TemporaryFolder folder;
    const auto message = [&] { return thrown_message([&] { read_sentence_options(folder.path()); }); };
    write(folder / "modules.json",
          modules({{"Transformer", ""}, {"Pooling", "1_Pooling"}, {"Dense", "2_Dense"}}));
    write(folder / "1_Pooling/config.json", R"({"pooling_mode": "mean"})");
    CHECK(message() == folder /
                           "modules.json: 2.type: expected Transformer, Pooling and perhaps Normalize, in "
                           "this order, got a text \"sentence_transformers.models.Dense\"");
    write(folder / "modules.json", modules({{"Transformer", ""}}));
    CHECK(message() == folder /
                           "modules.json: the whole text: expected the modules Transformer and Pooling, "
                           "got an array");
    write(folder / "modules.json", modules({{"Transformer", ""}, {"Pooling", "1_Pooling"}}));
    write(folder / "1_Pooling/config.json", R"({"pooling_mode_lasttoken": true})");
    CHECK(message() == folder /
                           "1_Pooling/config.json: pooling_mode_lasttoken: expected mean, "
                           "mean_sqrt_len_tokens, max or cls, as others are not supported, got a boolean");
    write(folder / "1_Pooling/config.json",
          R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true})");
    CHECK(message() == folder /
                           "1_Pooling/config.json: pooling_mode_mean_tokens: expected one way of pooling, "
                           "as several at once are not supported, got a boolean");
    write(folder / "1_Pooling/config.json", "{}");
    CHECK(message() == folder / "1_Pooling/config.json: expected a pooling_mode, got none");
    write(folder / "1_Pooling/config.json", R"({"pooling_mode": "mean"})");
    write(folder / "sentence_bert_config.json", R"({"max_seq_length": 0})");
    CHECK(message() ==
          folder / "sentence_bert_config.json: max_seq_length: expected a number of tokens, got 0");
    write(folder / "sentence_bert_config.json", R"({"do_lower_case": true})");
    CHECK(message() == folder /
                           "sentence_bert_config.json: do_lower_case: expected false: the tokenizer is to "
                           "do that, got a boolean");
    write(folder / "sentence_bert_config.json", "{}");
    write(folder / "config_sentence_transformers.json",
          R"({"prompts": {"q": "query: "}, "default_prompt_name": "q"})");
    CHECK(message() == folder /
                           "config_sentence_transformers.json: default_prompt_name: expected null, as "
                           "prompts before each sentence are not supported, got a text \"q\"");
}

TEST_CASE("a GGUF file says how to pool, and is normalized") {
    const TemporaryFolder folder;
    const std::string path = folder / "bert.gguf";
    const auto with_pooling = [&](std::uint32_t pooling) {
        write(path, support::GgufFile()
                        .text("general.architecture", "bert")
                        .integer("bert.pooling_type", pooling)
                        .bytes());
        return read_sentence_options(path);
    };
    CHECK(with_pooling(1).pooling == Pooling::mean);
    CHECK(with_pooling(2).pooling == Pooling::first);
    CHECK(with_pooling(2).normalized);
    CHECK(with_pooling(2).model == path);
    check_mentions(thrown_message([&] { with_pooling(3); }),
                   {"bert.pooling_type: expected 1 (mean) or 2 (first), got 3"});
    write(path, support::GgufFile().text("general.architecture", "bert").bytes());
    CHECK(read_sentence_options(path).pooling == Pooling::mean);
}
