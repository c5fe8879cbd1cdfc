#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/io/folder.hpp"
#include "tenon/io/json_text.hpp"
#include "tenon/tokenizer/base64.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/byte_level.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/decoders.hpp"
#include "tenon/tokenizer/normalizers.hpp"
#include "tenon/tokenizer/post_processors.hpp"
#include "tenon/tokenizer/pre_tokenizers.hpp"
#include "tenon/tokenizer/tokenizer.hpp"
#include "tenon/tokenizer/unigram.hpp"
#include "tenon/tokenizer/word_level.hpp"
#include "tenon/tokenizer/word_piece.hpp"

namespace tenon {

namespace detail {

/// Writes JSON: values, lists and objects, with commas where they belong.
class JsonText {
public:
    JsonText& begin(char bracket) {
        separate();
        text_ += bracket;
        is_first_ = true;
        return *this;
    }

    JsonText& end(char bracket) {
        text_ += bracket;
        is_first_ = false;
        return *this;
    }

    JsonText& key(std::string_view name) {
        separate();
        append_json_string(text_, name);
        text_ += ": ";
        is_first_ = true;
        return *this;
    }

    JsonText& text(std::string_view value) {
        separate();
        append_json_string(text_, value);
        return *this;
    }

    JsonText& integer(std::uint64_t value) { return word(std::to_string(value)); }

    JsonText& real(double value) {
        separate();
        append_json_number(text_, value);
        return *this;
    }

    /// true, false or null, or JSON that is there already.
    JsonText& word(std::string_view value) {
        separate();
        text_ += value;
        return *this;
    }

    JsonText& flag(bool value) { return word(value ? "true" : "false"); }

    /// Begins an object with a type.
    JsonText& begin_type(std::string_view type) { return begin('{').key("type").text(type); }

    std::string take() { return std::move(text_) + "\n"; }

private:
    void separate() {
        if (!is_first_) text_ += ", ";
        is_first_ = false;
    }

    std::string text_;
    bool is_first_ = true;  // whether nothing stands before that a comma must follow
};

[[noreturn]] inline void fail_to_write(std::string_view what) {
    throw Error("expected a tokenizer whose " + std::string(what) + " tokenizer.json has, got another");
}

inline void write_pattern(JsonText& json, const TextPattern& pattern) {
    json.key("pattern").begin('{').key(pattern.is_regex() ? "Regex" : "String").text(pattern.text()).end('}');
}

inline std::string_view name_of(SplitBehavior behavior) {
    constexpr std::string_view names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                          "Contiguous"};
    return names[static_cast<std::size_t>(behavior)];
}

inline void write_step(JsonText& json, const NormalizerStep& step) {
    using namespace normalizer;
    if (const auto* bert = step.get_if<BertNormalizer>()) {
        json.begin_type("BertNormalizer").key("clean_text").flag(bert->clean_text);
        json.key("handle_chinese_chars").flag(bert->handle_chinese_chars).key("strip_accents");
        bert->strip_accents ? json.flag(*bert->strip_accents) : json.word("null");
        json.key("lowercase").flag(bert->lowercase);
    } else if (const auto* strip = step.get_if<Strip>()) {
        json.begin_type("Strip")
            .key("strip_left")
            .flag(strip->strip_left)
            .key("strip_right")
            .flag(strip->strip_right);
    } else if (step.get_if<StripAccents>()) {
        json.begin_type("StripAccents");
    } else if (const auto* unicode = step.get_if<Unicode>()) {
        constexpr std::string_view names[] = {"NFC", "NFD", "NFKC", "NFKD"};
        json.begin_type(names[static_cast<std::size_t>(unicode->form)]);
    } else if (step.get_if<normalizer::Lowercase>()) {
        json.begin_type("Lowercase");
    } else if (step.get_if<Nmt>()) {
        json.begin_type("Nmt");
    } else if (const auto* precompiled = step.get_if<Precompiled>()) {
        json.begin_type("Precompiled")
            .key("precompiled_charsmap")
            .text(write_base64(precompiled->charsmap.bytes()));
    } else if (const auto* replace = step.get_if<Replace>()) {
        write_pattern(json.begin_type("Replace"), replace->pattern);
        json.key("content").text(replace->content);
    } else if (const auto* prepend = step.get_if<Prepend>()) {
        json.begin_type("Prepend").key("prepend").text(prepend->prepend);
    } else if (step.get_if<normalizer::ByteLevel>()) {
        json.begin_type("ByteLevel");
    } else {
        fail_to_write("normalizer");
    }
    json.end('}');
}

inline void write_byte_level_fields(JsonText& json, bool add_prefix_space, bool trim_offsets,
                                    bool use_regex) {
    json.begin_type("ByteLevel").key("add_prefix_space").flag(add_prefix_space);
    json.key("trim_offsets").flag(trim_offsets).key("use_regex").flag(use_regex);
}

inline void write_metaspace(JsonText& json, const pre_tokenizer::Metaspace& step) {
    constexpr std::string_view schemes[] = {"first", "never", "always"};
    json.begin_type("Metaspace").key("replacement").text(step.replacement);
    json.key("prepend_scheme")
        .text(schemes[static_cast<std::size_t>(step.prepend_scheme)])
        .key("split")
        .flag(step.split);
}

inline void write_step(JsonText& json, const PreTokenizerStep& step) {
    using namespace pre_tokenizer;
    if (const auto* bytes = step.get_if<ByteLevel>()) {
        write_byte_level_fields(json, bytes->add_prefix_space, bytes->trim_offsets, bytes->use_regex);
    } else if (const auto* split = step.get_if<pre_tokenizer::Split>()) {
        write_pattern(json.begin_type("Split"), split->pattern);
        json.key("behavior").text(name_of(split->behavior)).key("invert").flag(split->invert);
    } else if (step.get_if<BertPreTokenizer>()) {
        json.begin_type("BertPreTokenizer");
    } else if (step.get_if<Whitespace>()) {
        json.begin_type("Whitespace");
    } else if (step.get_if<WhitespaceSplit>()) {
        json.begin_type("WhitespaceSplit");
    } else if (const auto* metaspace = step.get_if<Metaspace>()) {
        write_metaspace(json, *metaspace);
    } else if (const auto* punctuation = step.get_if<Punctuation>()) {
        json.begin_type("Punctuation").key("behavior").text(name_of(punctuation->behavior));
    } else if (const auto* digits = step.get_if<Digits>()) {
        json.begin_type("Digits").key("individual_digits").flag(digits->individual_digits);
    } else if (const auto* delimiter = step.get_if<CharDelimiterSplit>()) {
        json.begin_type("CharDelimiterSplit").key("delimiter").text(delimiter->delimiter);
    } else if (const auto* length = step.get_if<FixedLength>()) {
        json.begin_type("FixedLength").key("length").integer(length->length);
    } else {
        fail_to_write("pre-tokenizer");
    }
    json.end('}');
}

inline void write_step(JsonText& json, const DecoderStep& step) {
    using namespace decoder;
    if (const auto* suffix = step.get_if<BPEDecoder>()) {
        json.begin_type("BPEDecoder").key("suffix").text(suffix->suffix);
    } else if (const auto* bytes = step.get_if<ByteLevel>()) {
        write_byte_level_fields(json, bytes->fields.add_prefix_space, bytes->fields.trim_offsets,
                                bytes->fields.use_regex);
    } else if (step.get_if<Bytes>()) {
        write_byte_level_fields(json, true, true, true);
    } else if (const auto* word_piece = step.get_if<decoder::WordPiece>()) {
        json.begin_type("WordPiece")
            .key("prefix")
            .text(word_piece->prefix)
            .key("cleanup")
            .flag(word_piece->cleanup);
    } else if (const auto* metaspace = step.get_if<Metaspace>()) {
        write_metaspace(json, metaspace->fields);
    } else if (const auto* ctc = step.get_if<CTC>()) {
        json.begin_type("CTC").key("pad_token").text(ctc->pad_token);
        json.key("word_delimiter_token").text(ctc->word_delimiter_token).key("cleanup").flag(ctc->cleanup);
    } else if (step.get_if<Fuse>()) {
        json.begin_type("Fuse");
    } else if (const auto* strip = step.get_if<Strip>()) {
        json.begin_type("Strip").key("content").text(strip->content).key("start").integer(strip->start);
        json.key("stop").integer(strip->stop);
    } else if (step.get_if<ByteFallback>()) {
        json.begin_type("ByteFallback");
    } else if (const auto* replace = step.get_if<Replace>()) {
        write_pattern(json.begin_type("Replace"), replace->pattern);
        json.key("content").text(replace->content);
    } else {
        fail_to_write("decoder");
    }
    json.end('}');
}

inline void write_named_token(JsonText& json, std::string_view key, const post_processor::NamedToken& token) {
    json.key(key).begin('[').text(token.text).integer(token.id).end(']');
}

inline void write_template(JsonText& json, const post_processor::TemplateProcessing& step) {
    json.begin_type("TemplateProcessing");
    for (const bool is_pair : {false, true}) {
        json.key(is_pair ? "pair" : "single").begin('[');
        for (const post_processor::TemplatePiece& piece : is_pair ? step.pair : step.single) {
            json.begin('{').key(piece.sequence ? "Sequence" : "SpecialToken").begin('{').key("id");
            json.text(piece.sequence ? (*piece.sequence == 0 ? "A" : "B") : std::string_view(piece.name));
            json.key("type_id").integer(piece.type_id).end('}').end('}');
        }
        json.end(']');
    }
    json.key("special_tokens").begin('{');
    for (const auto& special : step.special_tokens) {
        json.key(special.name).begin('{').key("id").text(special.name).key("ids").begin('[');
        for (const auto& token : special.tokens) json.integer(token.id);
        json.end(']').key("tokens").begin('[');
        for (const auto& token : special.tokens) json.text(token.text);
        json.end(']').end('}');
    }
    json.end('}');
}

inline void write_step(JsonText& json, const PostProcessorStep& step) {
    using namespace post_processor;
    if (const auto* pattern = step.get_if<TemplateProcessing>()) {
        write_template(json, *pattern);
    } else if (const auto* bert = step.get_if<BertProcessing>()) {
        write_named_token(json.begin_type("BertProcessing"), "sep", bert->sep);
        write_named_token(json, "cls", bert->cls);
    } else if (const auto* roberta = step.get_if<RobertaProcessing>()) {
        write_named_token(json.begin_type("RobertaProcessing"), "sep", roberta->sep);
        write_named_token(json, "cls", roberta->cls);
        json.key("trim_offsets")
            .flag(roberta->trim_offsets)
            .key("add_prefix_space")
            .flag(roberta->add_prefix_space);
    } else if (const auto* bytes = step.get_if<post_processor::ByteLevel>()) {
        write_byte_level_fields(json, bytes->add_prefix_space, bytes->trim_offsets, bytes->use_regex);
    } else {
        fail_to_write("post-processor");
    }
    json.end('}');
}

/// Writes the one step there is, or several under the name `list` of a Sequence.
template <class Steps>
void write_steps(JsonText& json, std::string_view key, std::string_view list, const Steps& steps) {
    json.key(key);
    if (steps.empty()) {
        json.word("null");
        return;
    }
    if (steps.size() == 1) return write_step(json, steps[0]);
    json.begin_type("Sequence").key(list).begin('[');
    for (const auto& step : steps) write_step(json, step);
    json.end(']').end('}');
}

inline std::string_view name_of(Side side) { return side == Side::left ? "Left" : "Right"; }

inline void write_limits(JsonText& json, const Tokenizer& tokenizer) {
    json.key("truncation");
    if (const auto& truncation = tokenizer.truncation()) {
        constexpr std::string_view strategies[] = {"LongestFirst", "OnlyFirst", "OnlySecond"};
        json.begin('{').key("direction").text(name_of(truncation->direction));
        json.key("max_length").integer(truncation->max_length);
        json.key("strategy").text(strategies[static_cast<std::size_t>(truncation->strategy)]);
        json.key("stride").integer(truncation->stride).end('}');
    } else {
        json.word("null");
    }
    json.key("padding");
    if (const auto& padding = tokenizer.padding()) {
        json.begin('{').key("strategy");
        if (padding->fixed_length) {
            json.begin('{').key("Fixed").integer(*padding->fixed_length).end('}');
        } else {
            json.text("BatchLongest");
        }
        json.key("direction").text(name_of(padding->direction)).key("pad_to_multiple_of");
        padding->pad_to_multiple_of ? json.integer(*padding->pad_to_multiple_of) : json.word("null");
        json.key("pad_id").integer(padding->pad_id).key("pad_type_id").integer(padding->pad_type_id);
        json.key("pad_token").text(padding->pad_token).end('}');
    } else {
        json.word("null");
    }
}

/// Whether Hugging Face's tokenizers, which number added tokens themselves, give them the ids that they have.
inline bool are_numbered_in_order(const Tokenizer& tokenizer) {
    auto next = static_cast<TokenId>(tokenizer.model().count());
    for (const AddedToken& token : tokenizer.added_tokens()) {
        const TokenId found = tokenizer.model().find(token.content);
        if (token.id != (found == absent ? next++ : found)) return false;
    }
    return true;
}

/// Writes the tokens by id. Where added tokens would otherwise get other ids, they are among them.
inline void write_vocabulary(JsonText& json, const Tokenizer& tokenizer) {
    const TokenizerModel& model = tokenizer.model();
    const bool is_in_order = are_numbered_in_order(tokenizer);
    std::vector<std::string_view> texts(is_in_order ? model.size() : tokenizer.vocabulary_size());
    for (TokenId id = 0; id < model.size(); ++id) texts[id] = model[id];
    if (!is_in_order) {
        for (const AddedToken& token : tokenizer.added_tokens()) texts[token.id] = token.content;
    }
    json.key("vocab").begin('{');
    for (TokenId id = 0; id < texts.size(); ++id) {
        const bool is_there = is_in_order ? model.has(id) : tokenizer.has_token(id);
        if (is_there) json.key(texts[id]).integer(id);
    }
    json.end('}');
}

inline void write_model(JsonText& json, const Tokenizer& tokenizer) {
    json.key("model");
    if (const auto* byte_pair = tokenizer.model().get_if<BytePair>()) {
        const BytePairOptions& options = byte_pair->options();
        const auto text_or_null = [&](std::string_view key, std::string_view text) {
            json.key(key);
            text.empty() ? json.word("null") : json.text(text);
        };
        json.begin_type("BPE").key("dropout").word("null");
        text_or_null("unk_token", options.unknown ? *options.unknown : "");
        text_or_null("continuing_subword_prefix", options.continuing_prefix);
        text_or_null("end_of_word_suffix", options.end_suffix);
        json.key("fuse_unk").flag(options.fuse_unknown).key("byte_fallback").flag(options.byte_fallback);
        json.key("ignore_merges").flag(options.ignore_merges);
        write_vocabulary(json, tokenizer);
        json.key("merges").begin('[');
        for (const MergeTable::Entry& merge : byte_pair->merges().in_order()) {
            json.begin('[').text(byte_pair->vocabulary()[merge.left]);
            json.text(byte_pair->vocabulary()[merge.right]).end(']');
        }
        json.end(']');
    } else if (const auto* word_piece = tokenizer.model().get_if<WordPiece>()) {
        const WordPieceOptions& options = word_piece->options();
        json.begin_type("WordPiece").key("unk_token").text(options.unknown);
        json.key("continuing_subword_prefix").text(options.continuing_prefix);
        json.key("max_input_chars_per_word").integer(options.longest_word);
        write_vocabulary(json, tokenizer);
    } else if (const auto* words = tokenizer.model().get_if<WordLevel>()) {
        json.begin_type("WordLevel");
        write_vocabulary(json, tokenizer);
        json.key("unk_token").text(words->unknown());
    } else if (const auto* unigram = tokenizer.model().get_if<Unigram>();
               unigram && !unigram->options().is_sentence_piece && !unigram->options().lowest_score) {
        if (!are_numbered_in_order(tokenizer)) fail_to_write("added tokens");
        json.begin_type("Unigram").key("unk_id");
        unigram->options().unknown ? json.integer(*unigram->options().unknown) : json.word("null");
        json.key("vocab").begin('[');
        for (const UnigramToken& token : unigram->vocabulary().tokens())
            json.begin('[').text(token.text).real(token.score).end(']');
        json.end(']').key("byte_fallback").flag(unigram->options().byte_fallback);
    } else {
        fail_to_write("model");
    }
    json.end('}');
}

}  // namespace detail

/// The tokenizer as a tokenizer.json, which Hugging Face's tokenizers read (version 1.0). Throws Error for a
/// tokenizer with parts that it lacks, such as one that was read from a SentencePiece model.
inline std::string tokenizer_json(const Tokenizer& tokenizer) {
    detail::JsonText json;
    json.begin('{').key("version").text("1.0");
    detail::write_limits(json, tokenizer);
    json.key("added_tokens").begin('[');
    for (const AddedToken& token : tokenizer.added_tokens()) {
        json.begin('{').key("id").integer(token.id).key("content").text(token.content);
        json.key("single_word").flag(token.single_word).key("lstrip").flag(token.lstrip);
        json.key("rstrip").flag(token.rstrip).key("normalized").flag(token.normalized);
        json.key("special").flag(token.special).end('}');
    }
    json.end(']');
    const TokenizerParts& parts = tokenizer.parts();
    detail::write_steps(json, "normalizer", "normalizers", parts.normalizer);
    detail::write_steps(json, "pre_tokenizer", "pretokenizers", parts.pre_tokenizer);
    detail::write_steps(json, "post_processor", "processors", parts.post_processor);
    if (parts.decoder && parts.decoder->empty()) {
        json.key("decoder").begin_type("Fuse").end('}');
    } else {
        detail::write_steps(json, "decoder", "decoders", parts.decoder.value_or(Decoder()));
    }
    detail::write_model(json, tokenizer);
    return json.end('}').take();
}

/// Writes a tokenizer.json, which appears whole or not at all. Throws FileError, and Error as
/// `tokenizer_json` does.
inline void write_tokenizer_json(const Tokenizer& tokenizer, const std::string& path) {
    write_file(path, tokenizer_json(tokenizer));
}

}  // namespace tenon
