#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/core/error.hpp"

namespace tenon::detail {

/// How the models of a name in GGUF files (`tokenizer.ggml.pre`) cut text.
struct PublishedPattern {
    std::vector<std::string_view> names;
    std::vector<std::string_view> expressions;  // one after the other; of the pieces of each, all are kept
    bool ignore_merges = false;                 // a piece that is a token is that token
    bool adds_begin = false;                    // unless the file says otherwise
};

namespace patterns {

inline constexpr std::string_view gpt2 =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// GPT-2's as it came first, and as tiktoken writes it, which means the same.
inline constexpr std::string_view gpt2_spelled_out =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view gpt2_possessive =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s)";
// Llama 3's is that of GPT-4, which tiktoken wrote in two more ways; the last keeps whitespace whole that ends the text.
inline constexpr std::string_view gpt4_half_possessive =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
inline constexpr std::string_view gpt4_possessive =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)";
inline constexpr std::string_view llama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view qwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view qwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view gpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view tekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view deepseek3 =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view three_digits = R"(\p{N}{1,3})";
inline constexpr std::string_view chinese_and_japanese = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";

}  // namespace patterns

/// The pattern of a name. Throws Error for one that isn't known.
inline const PublishedPattern& published_pattern(std::string_view name) {
    static const std::vector<PublishedPattern> all = {
        {{"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code", "roberta-bpe",
          "gigachat", "a.x-4.0", "mellum", "modern-bert", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"},
         {patterns::gpt2}},
        {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"},
         {patterns::llama3},
         true,
         true},
        {{"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {patterns::llama3}},
        {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "hunyuan", "megrez", "solar-open", "grok-2"},
         {patterns::qwen2}},
        {{"qwen35"}, {patterns::qwen35}},
        {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, {patterns::gpt4o}},
        {{"tekken"}, {patterns::tekken}, true, true},
        {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
         {patterns::three_digits, patterns::chinese_and_japanese, patterns::deepseek3}},
        {{"deepseek-coder"},
         {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", R"(\p{N})"}},
        {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
         {R"(\p{N})", patterns::gpt2}},
        {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", patterns::gpt2, "[0-9][0-9][0-9]"}},
        {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", patterns::gpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
    };
    for (const PublishedPattern& pattern : all) {
        if (std::find(pattern.names.begin(), pattern.names.end(), name) != pattern.names.end()) return pattern;
    }
    throw Error("expected the name of a way to cut text that is known, got \"" + std::string(name) + "\"");
}

}  // namespace tenon::detail
