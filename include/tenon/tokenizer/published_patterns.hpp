#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/core/error.hpp"

namespace tenon::detail {

/// What pieces are merged from.
enum class PieceText : std::uint8_t {
    bytes,    ///< written as GPT-2 does
    escaped,  ///< characters, U+2581 for spaces; bytes of those that are no token
    words,    ///< the same, each beginning with U+2581
    plain,    ///< characters of what is no whitespace
};

/// How the models of a name in GGUF files (`tokenizer.ggml.pre`) cut text.
struct PublishedPattern {
    std::vector<std::string_view> names;
    std::vector<std::string_view> expressions;  // one after the other; of the pieces of each, all are kept
    bool ignore_merges = false;                 // a piece that is a token is that token
    bool adds_begin = false;                    // unless the file says otherwise
    PieceText text = PieceText::bytes;
    bool whole_newlines = false;  // of lines' ends in a row those tokens that they are, longest first
    bool always_begins = false;   // whatever the file says
};

namespace patterns {

inline constexpr std::string_view gpt2 =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// GPT-2's as it came first, and as tiktoken writes it, which means the same.
inline constexpr std::string_view gpt2_spelled_out =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view gpt2_possessive =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s)";
// Llama 3's is that of GPT-4, which tiktoken wrote in two more ways; the last keeps whitespace whole that
// ends the text.
inline constexpr std::string_view gpt4_half_possessive =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
inline constexpr std::string_view gpt4_possessive =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)";
inline constexpr std::string_view llama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view qwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// Qwen 2's, without what English contracts.
inline constexpr std::string_view ufakzeka =
    R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view lines = R"([^\n]+|[\n]+)";
inline constexpr std::string_view qwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view gpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view tekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view deepseek3 =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
/// DeepSeek's, whose lines' ends are pieces each.
inline constexpr std::string_view spark =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+|[\r\n]|\\s+(?!\\S)|\\s+";
/// Kimi's: GPT-4o's, in which Chinese characters are pieces apart.
inline constexpr std::string_view kimi =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view youtu_scripts =
    "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-"
    "\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
inline constexpr std::string_view youtu =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view seed_coder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view exaone_moe =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
inline constexpr std::string_view jais2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})";
inline constexpr std::string_view minicpm5 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view k2_horizon =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}|\p{M}|\u200C|\u200D)+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// Digits in threes, counted from the last.
inline constexpr std::string_view thousands = R"(\d{1,3}(?=(?:\d{3})*\b))";
inline constexpr std::string_view before_thousands = R"((?=(\d{3})+(?!\d)))";
inline constexpr std::string_view afmoe_scripts =
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf"
    "\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-"
    "\u11ff]+";
inline constexpr std::string_view three_digits = R"(\p{N}{1,3})";
inline constexpr std::string_view chinese_and_japanese = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
/// Letters with case, as the Unicode of their time has them.
inline constexpr std::string_view deepseek_letters =
    "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-"
    "\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd"
    "\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
    "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-"
    "\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4"
    "\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d"
    "\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e"
    "\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f"
    "\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    "\U000118a0-\U000118df\U0001e900-\U0001e943]+";
inline constexpr std::string_view deepseek_marks =
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+";
inline constexpr std::string_view deepseek_ideographs = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
inline constexpr std::string_view bloom = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+";
inline constexpr std::string_view bailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";

}  // namespace patterns

/// The pattern of a name. Throws Error for one that isn't known.
inline const PublishedPattern& published_pattern(std::string_view name) {
    static const std::vector<PublishedPattern> all = {
        {{"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code",
          "roberta-bpe", "gigachat", "a.x-4.0", "mellum", "modern-bert", "mpt", "olmo", "jais", "trillion",
          "granite-docling", "exaone4"},
         {patterns::gpt2}},
        {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
          "jina-v5-nano"},
         {patterns::llama3},
         true,
         true},
        {{"dbrx", "smaug-bpe", "glm4", "glm5", "chatglm-bpe"}, {patterns::llama3}},
        {{"jais-2"}, {patterns::jais2}},
        {{"minicpm5"}, {patterns::three_digits, patterns::minicpm5}, true},
        {{"k2-horizon"}, {patterns::k2_horizon}},
        {{"seed-coder"}, {patterns::seed_coder}},
        {{"exaone-moe"}, {patterns::exaone_moe}},
        {{"laguna"}, {patterns::lines, patterns::qwen2}},
        {{"ufakzeka"}, {patterns::ufakzeka}},
        {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "hunyuan", "megrez", "solar-open",
          "grok-2"},
         {patterns::qwen2}},
        {{"qwen35"}, {patterns::qwen35}},
        {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, {patterns::gpt4o}},
        {{"granite-embed-multi-97m"}, {patterns::gpt4o}, true},
        {{"tiny_aya", "cohere2moe"}, {patterns::thousands, patterns::gpt4o}},
        {{"kimi-k2"}, {patterns::kimi}},
        {{"youtu"}, {patterns::youtu_scripts, patterns::youtu}, true},
        {{"tekken"}, {patterns::tekken}, true, true},
        {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
         {patterns::three_digits, patterns::chinese_and_japanese, patterns::deepseek3}},
        {{"spark2_5"}, {patterns::three_digits, patterns::chinese_and_japanese, patterns::spark, R"(\p{N})"}},
        {{"deepseek-llm"},
         {"[\r\n]", patterns::deepseek_letters, patterns::deepseek_marks, R"(\s+$)",
          patterns::deepseek_ideographs, R"(\p{N}+)"}},
        {{"poro-chat", "bloom", "gpt3-finnish"}, {patterns::bloom}},
        {{"viking"}, {patterns::bloom, R"(\p{N})"}},
        {{"bailingmoe", "bailingmoe2", "llada-moe"}, {patterns::bailing}},
        {{"superbpe"}, {R"(\p{N}+)", patterns::before_thousands}},
        {{"afmoe"},
         {R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))", patterns::afmoe_scripts, patterns::deepseek3}},
        {{"chameleon"},
         {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\t\n]|    |  )", R"(\p{N})",
          R"([\p{P}!-/:-@\[-`{-~])", patterns::gpt2},
         false,
         true},
        {{"deepseek-coder"},
         {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", patterns::deepseek_ideographs, R"(\p{N})"}},
        {{"gemma4", "granite-embed-multi-311m"},
         {patterns::lines},
         false,
         true,
         PieceText::escaped,
         true,
         true},
        {{"sarvam-moe"}, {patterns::lines}, false, false, PieceText::escaped},
        {{"mmbert"}, {patterns::lines}, false, false, PieceText::words, true},
        {{"whitespace"}, {}, false, false, PieceText::plain},
        {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
         {R"(\p{N})", patterns::gpt2}},
        {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", patterns::gpt2, "[0-9][0-9][0-9]"}},
        {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", patterns::gpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
    };
    for (const PublishedPattern& pattern : all) {
        if (std::find(pattern.names.begin(), pattern.names.end(), name) != pattern.names.end())
            return pattern;
    }
    std::string known;
    for (const PublishedPattern& pattern : all) {
        for (const std::string_view supported : pattern.names)
            known.append(known.empty() ? "" : ", ").append(supported);
    }
    throw Error("tokenizer.ggml.pre: expected one of " + known + ", got \"" + std::string(name) + "\"");
}

}  // namespace tenon::detail
