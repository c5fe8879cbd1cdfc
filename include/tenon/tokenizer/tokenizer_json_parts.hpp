#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/json.hpp"
#include "tenon/tokenizer/base64.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/decoders.hpp"
#include "tenon/tokenizer/normalizers.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/post_processors.hpp"
#include "tenon/tokenizer/pre_tokenizers.hpp"
#include "tenon/tokenizer/unigram.hpp"
#include "tenon/tokenizer/word_piece.hpp"

/// Reads the parts of a tokenizer.json, all but the large ones.
namespace tenon::detail {

inline std::optional<Json> not_null(std::optional<Json> json) {
    return json && !json->is(JsonKind::null) ? json : std::nullopt;
}

inline std::string text_or(const Json& json, std::string_view key, std::string_view otherwise) {
    const std::optional<Json> value = not_null(json.find(key));
    return std::string(value ? value->text() : otherwise);
}

inline bool flag_or(const Json& json, std::string_view key, bool otherwise) {
    const std::optional<Json> value = not_null(json.find(key));
    return value ? value->boolean() : otherwise;
}

inline std::uint32_t number_of(const Json& json) {
    const std::int64_t number = json.integer();
    if (number < 0 || number > std::numeric_limits<std::uint32_t>::max())
        json.fail("a whole number below 4294967296");
    return static_cast<std::uint32_t>(number);
}

inline std::optional<std::uint32_t> number_at(const Json& json, std::string_view key) {
    const std::optional<Json> value = not_null(json.find(key));
    return value ? std::optional(number_of(*value)) : std::nullopt;
}

/// The text of one character.
inline std::string character_at(const Json& json, std::string_view key) {
    const std::string_view text = json.at(key).text();
    if (text.empty() || decode_utf8_character(text).size != text.size()) json.at(key).fail("one character");
    return std::string(text);
}

/// The value that a key's text names. `names` are pairs of texts and values.
template <class Value, std::size_t count>
Value named(const Json& json, const std::pair<std::string_view, Value> (&names)[count]) {
    std::string expected = "one of";
    for (const auto& [name, value] : names) {
        if (json.text() == name) return value;
        expected += " " + std::string(name);
    }
    json.fail(expected);
}

inline SplitBehavior behavior_of(const Json& json) {
    return named<SplitBehavior>(json, {{"Removed", SplitBehavior::removed},
                                       {"Isolated", SplitBehavior::isolated},
                                       {"MergedWithPrevious", SplitBehavior::merged_with_previous},
                                       {"MergedWithNext", SplitBehavior::merged_with_next},
                                       {"Contiguous", SplitBehavior::contiguous}});
}

inline TextPattern pattern_of(const Json& json) {
    if (const auto literal = json.find("String")) return TextPattern::literal(std::string(literal->text()));
    const Json expression = json.at("Regex");
    return with_place(expression.where(), [&] { return TextPattern::regex(std::string(expression.text())); });
}

/// Calls read(type, step) for each step: those of a Sequence, which lie under `steps`, or the one there is.
template <class Read>
void for_each_step(const Json& json, std::string_view steps, Read&& read) {
    const std::string_view type = json.at("type").text();
    if (type != "Sequence") return read(type, json);
    for (const Json step : json.at(steps).elements()) for_each_step(step, steps, read);
}

/// The bytes that a text in base 64 stands for.
inline std::string bytes_of_base64(const Json& json) {
    std::optional<std::string> bytes = read_base64(json.text());
    if (!bytes) json.fail("a text in base 64");
    return std::move(*bytes);
}

inline Normalizer read_normalizer(std::optional<Json> json) {
    Normalizer steps;
    if (!(json = not_null(json))) return steps;
    for_each_step(*json, "normalizers", [&](std::string_view type, const Json& step) {
        using namespace normalizer;
        if (type == "BertNormalizer" || type == "Bert") {
            std::optional<bool> strip_accents;
            if (const auto value = not_null(step.find("strip_accents"))) strip_accents = value->boolean();
            steps.push_back(BertNormalizer{flag_or(step, "clean_text", true),
                                           flag_or(step, "handle_chinese_chars", true), strip_accents,
                                           flag_or(step, "lowercase", true)});
        } else if (type == "Strip") {
            steps.push_back(Strip{flag_or(step, "strip_left", true), flag_or(step, "strip_right", true)});
        } else if (type == "StripAccents") {
            steps.push_back(StripAccents{});
        } else if (type == "NFC") {
            steps.push_back(Unicode{NormalizationForm::nfc});
        } else if (type == "NFD") {
            steps.push_back(Unicode{NormalizationForm::nfd});
        } else if (type == "NFKC") {
            steps.push_back(Unicode{NormalizationForm::nfkc});
        } else if (type == "NFKD") {
            steps.push_back(Unicode{NormalizationForm::nfkd});
        } else if (type == "Lowercase") {
            steps.push_back(normalizer::Lowercase{});
        } else if (type == "Nmt") {
            steps.push_back(Nmt{});
        } else if (type == "Precompiled") {
            const Json charsmap = step.at("precompiled_charsmap");
            steps.push_back(with_place(charsmap.where(),
                                       [&] { return Precompiled{CharacterMap(bytes_of_base64(charsmap))}; }));
        } else if (type == "Replace") {
            steps.push_back(Replace{pattern_of(step.at("pattern")), std::string(step.at("content").text())});
        } else if (type == "Prepend") {
            steps.push_back(Prepend{std::string(step.at("prepend").text())});
        } else if (type == "ByteLevel") {
            steps.push_back(ByteLevel{});
        } else {
            step.at("type").fail("the name of a normalizer");
        }
    });
    return steps;
}

inline pre_tokenizer::ByteLevel read_byte_level(const Json& json) {
    return {flag_or(json, "add_prefix_space", true), flag_or(json, "trim_offsets", true),
            flag_or(json, "use_regex", true)};
}

inline pre_tokenizer::Metaspace read_metaspace(const Json& json) {
    pre_tokenizer::Metaspace step;
    step.replacement = character_at(json, "replacement");
    if (const auto scheme = not_null(json.find("prepend_scheme"))) {
        step.prepend_scheme = named<PrependScheme>(*scheme, {{"first", PrependScheme::first},
                                                             {"never", PrependScheme::never},
                                                             {"always", PrependScheme::always}});
    }
    if (!flag_or(json, "add_prefix_space", true)) {
        if (json.find("prepend_scheme") && step.prepend_scheme != PrependScheme::never)
            json.at("prepend_scheme").fail("never, as add_prefix_space is false");
        step.prepend_scheme = PrependScheme::never;
    }
    step.split = flag_or(json, "split", true);
    return step;
}

inline PreTokenizer read_pre_tokenizer(std::optional<Json> json) {
    PreTokenizer steps;
    if (!(json = not_null(json))) return steps;
    for_each_step(*json, "pretokenizers", [&](std::string_view type, const Json& step) {
        using namespace pre_tokenizer;
        if (type == "ByteLevel") {
            steps.push_back(read_byte_level(step));
        } else if (type == "Split") {
            steps.push_back(pre_tokenizer::Split{pattern_of(step.at("pattern")),
                                                 behavior_of(step.at("behavior")),
                                                 flag_or(step, "invert", false)});
        } else if (type == "BertPreTokenizer") {
            steps.push_back(BertPreTokenizer{});
        } else if (type == "Whitespace") {
            steps.push_back(Whitespace{});
        } else if (type == "WhitespaceSplit") {
            steps.push_back(WhitespaceSplit{});
        } else if (type == "Metaspace") {
            steps.push_back(read_metaspace(step));
        } else if (type == "Punctuation") {
            const auto behavior = not_null(step.find("behavior"));
            steps.push_back(Punctuation{behavior ? behavior_of(*behavior) : SplitBehavior::isolated});
        } else if (type == "Digits") {
            steps.push_back(Digits{flag_or(step, "individual_digits", false)});
        } else if (type == "CharDelimiterSplit" || type == "Delimiter") {
            steps.push_back(CharDelimiterSplit{character_at(step, "delimiter")});
        } else if (type == "FixedLength") {
            const std::uint32_t length = number_at(step, "length").value_or(5);
            if (length == 0) step.at("length").fail("a length from 1 up");
            steps.push_back(FixedLength{length});
        } else {
            step.at("type").fail("the name of a pre-tokenizer");
        }
    });
    return steps;
}

/// A text and an id, in a list.
inline post_processor::NamedToken read_named_token(const Json& json) {
    post_processor::NamedToken token;
    std::size_t i = 0;
    for (const Json element : json.elements()) {
        if (i == 0) token.text = element.text();
        if (i == 1) token.id = number_of(element);
        ++i;
    }
    if (i != 2) json.fail("a token's text and its id");
    return token;
}

inline std::vector<post_processor::TemplatePiece> read_template(const Json& json) {
    std::vector<post_processor::TemplatePiece> pieces;
    for (const Json element : json.elements()) {
        post_processor::TemplatePiece piece;
        if (const auto sequence = element.find("Sequence")) {
            piece.sequence = named<std::size_t>(sequence->at("id"), {{"A", 0}, {"B", 1}});
            piece.type_id = number_at(*sequence, "type_id").value_or(0);
        } else {
            const Json special = element.at("SpecialToken");
            piece.name = special.at("id").text();
            piece.type_id = number_at(special, "type_id").value_or(0);
        }
        pieces.push_back(std::move(piece));
    }
    return pieces;
}

inline post_processor::TemplateProcessing read_template_processing(const Json& json) {
    post_processor::TemplateProcessing step{
        read_template(json.at("single")), read_template(json.at("pair")), {}};
    for (const Json member : json.at("special_tokens").members()) {
        post_processor::TemplateProcessing::Special special{std::string(member.key()), {}};
        for (const Json id : member.at("ids").elements()) special.tokens.push_back({"", number_of(id)});
        std::size_t i = 0;
        for (const Json text : member.at("tokens").elements()) {
            if (i < special.tokens.size()) special.tokens[i].text = text.text();
            ++i;
        }
        if (i != special.tokens.size()) member.at("tokens").fail("as many texts as ids");
        step.special_tokens.push_back(std::move(special));
    }
    for (const auto* pieces : {&step.single, &step.pair}) {
        for (const post_processor::TemplatePiece& piece : *pieces) {
            if (!piece.sequence && !step.find(piece.name))
                json.at("special_tokens")
                    .fail("the special token \"" + piece.name + "\", which the template names");
        }
    }
    return step;
}

inline PostProcessor read_post_processor(std::optional<Json> json) {
    PostProcessor steps;
    if (!(json = not_null(json))) return steps;
    for_each_step(*json, "processors", [&](std::string_view type, const Json& step) {
        using namespace post_processor;
        if (type == "TemplateProcessing") {
            steps.push_back(read_template_processing(step));
        } else if (type == "BertProcessing") {
            steps.push_back(
                BertProcessing{read_named_token(step.at("sep")), read_named_token(step.at("cls"))});
        } else if (type == "RobertaProcessing") {
            steps.push_back(RobertaProcessing{
                read_named_token(step.at("sep")), read_named_token(step.at("cls")),
                flag_or(step, "trim_offsets", true), flag_or(step, "add_prefix_space", true)});
        } else if (type == "ByteLevel") {
            const pre_tokenizer::ByteLevel fields = read_byte_level(step);
            steps.push_back(ByteLevel{fields.add_prefix_space, fields.trim_offsets, fields.use_regex});
        } else {
            step.at("type").fail("the name of a post-processor");
        }
    });
    return steps;
}

inline std::optional<Decoder> read_decoder(std::optional<Json> json) {
    if (!(json = not_null(json))) return std::nullopt;
    Decoder steps;
    for_each_step(*json, "decoders", [&](std::string_view type, const Json& step) {
        using namespace decoder;
        if (type == "BPEDecoder") {
            steps.push_back(BPEDecoder{text_or(step, "suffix", "</w>")});
        } else if (type == "ByteLevel") {
            steps.push_back(ByteLevel{read_byte_level(step)});
        } else if (type == "WordPiece") {
            steps.push_back(
                decoder::WordPiece{text_or(step, "prefix", "##"), flag_or(step, "cleanup", true)});
        } else if (type == "Metaspace") {
            steps.push_back(Metaspace{read_metaspace(step)});
        } else if (type == "CTC") {
            steps.push_back(CTC{text_or(step, "pad_token", "<pad>"),
                                text_or(step, "word_delimiter_token", "|"), flag_or(step, "cleanup", true)});
        } else if (type == "Fuse") {
            steps.push_back(Fuse{});
        } else if (type == "Strip") {
            steps.push_back(Strip{character_at(step, "content"), number_at(step, "start").value_or(0),
                                  number_at(step, "stop").value_or(0)});
        } else if (type == "ByteFallback") {
            steps.push_back(ByteFallback{});
        } else if (type == "Replace") {
            steps.push_back(Replace{pattern_of(step.at("pattern")), std::string(step.at("content").text())});
        } else {
            step.at("type").fail("the name of a decoder");
        }
    });
    return steps;
}

inline Side side_of(const Json& json) {
    return named<Side>(json, {{"Left", Side::left}, {"Right", Side::right}});
}

inline std::optional<TruncationOptions> read_truncation(std::optional<Json> json) {
    if (!(json = not_null(json))) return std::nullopt;
    TruncationOptions truncation;
    truncation.max_length = number_of(json->at("max_length"));
    truncation.strategy =
        named<TruncationStrategy>(json->at("strategy"), {{"LongestFirst", TruncationStrategy::longest_first},
                                                         {"OnlyFirst", TruncationStrategy::only_first},
                                                         {"OnlySecond", TruncationStrategy::only_second}});
    if (const auto direction = not_null(json->find("direction"))) truncation.direction = side_of(*direction);
    truncation.stride = number_at(*json, "stride").value_or(0);
    return truncation;
}

inline std::optional<PaddingOptions> read_padding(std::optional<Json> json) {
    if (!(json = not_null(json))) return std::nullopt;
    PaddingOptions padding;
    const Json strategy = json->at("strategy");
    if (strategy.is(JsonKind::object)) {
        padding.fixed_length = number_of(strategy.at("Fixed"));
    } else if (strategy.text() != "BatchLongest") {
        strategy.fail("BatchLongest or Fixed");
    }
    if (const auto direction = not_null(json->find("direction"))) padding.direction = side_of(*direction);
    if (const auto multiple = number_at(*json, "pad_to_multiple_of")) padding.pad_to_multiple_of = *multiple;
    padding.pad_id = number_at(*json, "pad_id").value_or(0);
    padding.pad_type_id = number_at(*json, "pad_type_id").value_or(0);
    padding.pad_token = text_or(*json, "pad_token", "[PAD]");
    return padding;
}

inline std::vector<AddedToken> read_added_tokens(std::optional<Json> json) {
    std::vector<AddedToken> tokens;
    if (!(json = not_null(json))) return tokens;
    for (const Json element : json->elements()) {
        AddedToken token;
        token.content = element.at("content").text();
        token.id = number_of(element.at("id"));
        token.single_word = flag_or(element, "single_word", false);
        token.lstrip = flag_or(element, "lstrip", false);
        token.rstrip = flag_or(element, "rstrip", false);
        token.special = flag_or(element, "special", false);
        token.normalized = flag_or(element, "normalized", !token.special);
        tokens.push_back(std::move(token));
    }
    return tokens;
}

/// The type of a model, which old files don't say.
inline std::string_view model_type(const Json& json, bool has_scores, bool has_merges) {
    if (const auto type = not_null(json.find("type"))) {
        return named<std::string_view>(
            *type,
            {{"BPE", "BPE"}, {"WordPiece", "WordPiece"}, {"WordLevel", "WordLevel"}, {"Unigram", "Unigram"}});
    }
    if (has_scores) return "Unigram";
    if (has_merges) return "BPE";
    return json.find("continuing_subword_prefix") ? "WordPiece" : "WordLevel";
}

inline BytePairOptions read_byte_pair_options(const Json& json) {
    BytePairOptions options;
    if (const auto unknown = not_null(json.find("unk_token"))) options.unknown = unknown->text();
    options.continuing_prefix = text_or(json, "continuing_subword_prefix", "");
    options.end_suffix = text_or(json, "end_of_word_suffix", "");
    options.fuse_unknown = flag_or(json, "fuse_unk", false);
    options.byte_fallback = flag_or(json, "byte_fallback", false);
    options.ignore_merges = flag_or(json, "ignore_merges", false);
    return options;
}

inline WordPieceOptions read_word_piece_options(const Json& json) {
    WordPieceOptions options;
    options.unknown = text_or(json, "unk_token", "[UNK]");
    options.continuing_prefix = text_or(json, "continuing_subword_prefix", "##");
    options.longest_word = number_at(json, "max_input_chars_per_word").value_or(100);
    return options;
}

inline UnigramOptions read_unigram_options(const Json& json) {
    UnigramOptions options;
    options.unknown = number_at(json, "unk_id");
    options.byte_fallback = flag_or(json, "byte_fallback", false);
    return options;
}

}  // namespace tenon::detail
