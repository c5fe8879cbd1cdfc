#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <tenon/core/error.hpp>
#include <tenon/io/file.hpp>
#include <tenon/io/json.hpp>
#include <tenon/io/read_configuration.hpp>
#include <tenon/nn/pooling.hpp>

namespace tenon {

/// How an encoder's states become a sentence's embedding, as a folder of sentence-transformers says, or a
/// GGUF file.
struct SentenceOptions {
    std::string model;                ///< the folder of configuration, weights and tokenizer, or the file
    Pooling pooling = Pooling::mean;  ///< of the states of all tokens
    bool normalized = false;          ///< embeddings are made as long as 1
    int longest = 0;                  ///< in tokens, those of the template included; 0: not said
};

namespace detail {

inline std::optional<JsonDocument> json_if_there(const std::string& path) {
    if (!path_exists(path)) return std::nullopt;
    return parse_json(read_file(path), path);
}

/// The pooling of a name that configurations use, with or without the words of its older switch.
inline std::optional<Pooling> pooling_of(std::string_view name) {
    constexpr std::pair<std::string_view, Pooling> names[] = {
        {"mean", Pooling::mean},
        {"mean_tokens", Pooling::mean},
        {"mean_sqrt_len_tokens", Pooling::mean_root_length},
        {"max", Pooling::max},
        {"max_tokens", Pooling::max},
        {"cls", Pooling::first},
        {"cls_token", Pooling::first},
    };
    for (const auto& [known, pooling] : names)
        if (known == name) return pooling;
    return std::nullopt;
}

/// One name, or a switch for each that may be on.
inline Pooling read_pooling(const std::string& path) {
    const JsonDocument document = parse_json(read_file(path), path);
    std::optional<Pooling> found;
    for (const Json member : document.root().members()) {
        constexpr std::string_view key = "pooling_mode";
        if (!member.key().starts_with(key)) continue;
        const std::string_view rest = member.key().substr(key.size());
        if (!rest.empty() && !member.boolean()) continue;
        const auto pooling = pooling_of(rest.empty() ? member.text() : rest.substr(1));
        if (!pooling) member.fail("mean, mean_sqrt_len_tokens, max or cls, as others are not supported");
        if (found) member.fail("one way of pooling, as several at once are not supported");
        found = pooling;
    }
    if (!found) throw FileError(path + ": expected a pooling_mode, got none");
    return *found;
}

/// The greatest number of tokens of a sentence: sentence_bert_config.json's, else the tokenizer's.
inline int read_longest(const std::string& folder) {
    constexpr double most = 0x7fffffff;  // stands for any
    if (const auto settings = json_if_there(folder + "/sentence_bert_config.json")) {
        if (const auto lower = settings->root().find("do_lower_case"); lower && lower->boolean())
            lower->fail("false: the tokenizer is to do that");
        const auto longest = settings->root().find("max_seq_length");
        if (longest && !longest->is(JsonKind::null)) {
            if (longest->integer() < 1 || longest->integer() > 0x7fffffff)
                longest->fail("a number of tokens");
            return static_cast<int>(longest->integer());
        }
    }
    if (const auto settings = json_if_there(folder + "/tokenizer_config.json")) {
        const auto longest = settings->root().find("model_max_length");
        if (longest && !longest->is(JsonKind::null) && longest->real() >= 1)
            return longest->real() > most ? 0 : static_cast<int>(longest->real());
    }
    return 0;
}

inline SentenceOptions gguf_sentence_options(const std::string& path) {
    const OwnedConfiguration configuration = read_configuration(path);
    const ConfigurationTable table = configuration.table();
    const std::string architecture(table.text("general.architecture", ""));
    constexpr std::int64_t mean = 1, first = 2;
    const std::int64_t pooling = table.below(architecture).integer("pooling_type", mean);
    if (pooling != mean && pooling != first)
        throw FileError(path + ": " + architecture + ".pooling_type: expected 1 (mean) or 2 (first), got " +
                        std::to_string(pooling));
    return {.model = path, .pooling = pooling == mean ? Pooling::mean : Pooling::first, .normalized = true};
}

}  // namespace detail

/// Reads modules.json, and the files that it leads to, from a folder. Without it, as sentence-transformers
/// has it, the folder's model is pooled by `mean`, and not normalized. Or reads a GGUF file, which does not
/// say whether to normalize: as with llama.cpp's programs it is done. Throws FileError where a module or a
/// setting is not supported.
inline SentenceOptions read_sentence_options(const std::string& folder) {
    if (folder.ends_with(".gguf")) return detail::gguf_sentence_options(folder);
    SentenceOptions options{.model = folder};
    const auto modules = detail::json_if_there(folder + "/modules.json");
    if (modules) {
        std::size_t count = 0;
        for (const Json module : modules->root().elements()) {
            const std::string_view type = module.at("type").text();
            const std::string_view kind = type.substr(type.rfind('.') + 1);
            const std::string_view path = module.at("path").text();
            const std::string place = path.empty() ? folder : folder + "/" + std::string(path);
            if (kind == "Transformer" && count == 0)
                options.model = place;
            else if (kind == "Pooling" && count == 1)
                options.pooling = detail::read_pooling(place + "/config.json");
            else if (kind == "Normalize" && count == 2)
                options.normalized = true;
            else
                module.at("type").fail("Transformer, Pooling and perhaps Normalize, in this order");
            ++count;
        }
        if (count < 2) modules->root().fail("the modules Transformer and Pooling");
    }
    options.longest = detail::read_longest(options.model);
    if (const auto settings = detail::json_if_there(folder + "/config_sentence_transformers.json"))
        if (const auto prompt = settings->root().find("default_prompt_name");
            prompt && !prompt->is(JsonKind::null))
            prompt->fail("null, as prompts before each sentence are not supported");
    return options;
}

}  // namespace tenon
