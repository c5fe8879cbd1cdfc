#pragma once

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>

#include "tenon/core/error.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/json.hpp"
#include "tenon/tokenizer/byte_pair.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/tokenizer_json_parts.hpp"
#include "tenon/tokenizer/unigram.hpp"
#include "tenon/tokenizer/word_level.hpp"
#include "tenon/tokenizer/word_piece.hpp"

namespace tenon {

namespace detail {

/// What is large in a tokenizer.json, as it is read: vocabulary and merges. Texts are ranges of the tree's.
struct JsonModel {
    struct Token {
        JsonNode::Range text;
        union {
            std::uint64_t id;
            double score;
        };
    };
    struct Merge {
        JsonNode::Range left, right;
    };

    std::vector<Token> vocabulary;
    std::vector<Merge> merges;
    bool has_vocabulary = false, has_merges = false;
    bool has_scores = false;  // the vocabulary is a list of texts and scores, in the order of ids
    const char* begin = nullptr;

    std::string_view text(JsonNode::Range range) const { return {begin + range.offset, range.size}; }
};

/// Receives the parser's events: builds a tree of all but the model's vocabulary and merges, which it lists.
class TokenizerJsonHandler {
public:
    TokenizerJsonHandler(JsonTree& tree, JsonModel& model) : model_(model), rest_(tree) {
        model_.begin = tree.text.data();
        model_.merges.reserve(tree.text.size() / 32);
        model_.vocabulary.reserve(tree.text.size() / 64);
    }

    /// Why parsing was stopped; empty if it was not.
    std::string problem() const { return problem_.empty() ? rest_.problem() : problem_; }

    bool Null() { return is_listing() ? stop("null") : rest_.Null(); }
    bool Bool(bool value) { return is_listing() ? stop("a boolean") : rest_.Bool(value); }

    bool RawNumber(const char* digits, std::uint32_t size, bool copy) {
        if (!is_listing()) return rest_.RawNumber(digits, size, copy);
        const char* const end = digits + size;
        if (list_ == List::vocabulary && depth_ == list_depth_ + 1 && has_text_) {
            JsonModel::Token& token = model_.vocabulary.back();
            const auto [read_end, error] = std::from_chars(digits, end, token.id);
            has_text_ = false;
            return (error == std::errc() && read_end == end) || stop("a token's id that is no whole number");
        }
        if (list_ == List::scores && depth_ == list_depth_ + 2 && has_text_) {
            has_text_ = false;
            return std::from_chars(digits, end, model_.vocabulary.back().score).ec == std::errc() ||
                   stop("a score that no double can hold");
        }
        return stop("a number");
    }

    bool String(const char* text, std::uint32_t size, bool copy) {
        if (!is_listing()) return rest_.String(text, size, copy);
        const std::string_view view(text, size);
        if (list_ == List::scores && depth_ == list_depth_ + 2 && !has_text_) {
            model_.vocabulary.push_back({range(view), {}});
            has_text_ = true;
            return true;
        }
        if (list_ == List::merges && depth_ == list_depth_ + 1) {
            if (view.starts_with("#version")) return true;
            const std::size_t space = view.find(' ');
            if (space == std::string_view::npos || view.find(' ', space + 1) != std::string_view::npos) {
                return stop("the merge \"" + std::string(view) +
                            "\", which is no two tokens with a space between");
            }
            model_.merges.push_back({range(view.substr(0, space)), range(view.substr(space + 1))});
            return true;
        }
        if (list_ == List::merges && depth_ == list_depth_ + 2 && parts_of_merge_ < 2) {
            if (parts_of_merge_++ == 0) {
                model_.merges.push_back({range(view), {}});
            } else {
                model_.merges.back().right = range(view);
            }
            return true;
        }
        return stop("the text \"" + std::string(view.substr(0, 60)) + "\"");
    }

    bool StartObject() {
        if (is_listing()) return stop("an object");
        if (awaits_vocabulary()) return begin_list(List::vocabulary);
        ++depth_;
        return rest_.StartObject();
    }

    bool Key(const char* text, std::uint32_t size, bool copy) {
        const std::string_view key(text, size);
        if (is_listing()) {
            model_.vocabulary.push_back({range(key), {}});
            has_text_ = true;
            return true;
        }
        if (depth_ == 1) {
            is_in_model_ = key == "model";
            key_in_model_ = {};
        }
        if (depth_ == 2) key_in_model_ = is_in_model_ ? key : std::string_view();
        return rest_.Key(text, size, copy);
    }

    bool EndObject(std::uint32_t count) {
        --depth_;
        if (is_listing()) return end_list();
        return rest_.EndObject(count);
    }

    bool StartArray() {
        if (is_listing()) {
            const bool holds_pairs = list_ == List::scores || list_ == List::merges;
            if (!holds_pairs || depth_ != list_depth_ + 1) return stop("a list");
            ++depth_;
            parts_of_merge_ = 0;
            return true;
        }
        if (awaits_vocabulary()) return begin_list(List::scores);
        if (depth_ == 2 && key_in_model_ == "merges") return begin_list(List::merges);
        ++depth_;
        return rest_.StartArray();
    }

    bool EndArray(std::uint32_t count) {
        --depth_;
        if (!is_listing()) return rest_.EndArray(count);
        if (depth_ == list_depth_) return end_list();
        if (list_ == List::scores && (has_text_ || count != 2)) return stop("a token without a score");
        if (list_ == List::merges && parts_of_merge_ != 2) return stop("a merge that is no two tokens");
        return true;
    }

    // The parser also compiles calls to these, which it never makes once numbers are asked for as text.
    bool Int(int) { return false; }
    bool Uint(unsigned) { return false; }
    bool Int64(std::int64_t) { return false; }
    bool Uint64(std::uint64_t) { return false; }
    bool Double(double) { return false; }

private:
    enum class List : std::uint8_t { none, vocabulary, scores, merges };

    JsonNode::Range range(std::string_view text) const {
        return {static_cast<std::uint32_t>(text.data() - model_.begin),
                static_cast<std::uint32_t>(text.size())};
    }

    bool is_listing() const { return list_ != List::none; }
    bool awaits_vocabulary() const { return depth_ == 2 && key_in_model_ == "vocab"; }

    bool begin_list(List list) {
        bool& is_there = list == List::merges ? model_.has_merges : model_.has_vocabulary;
        if (is_there) return stop("a second \"" + std::string(key_in_model_) + "\"");
        is_there = true;
        model_.has_scores = model_.has_scores || list == List::scores;
        list_ = list;
        list_depth_ = depth_++;
        return rest_.Null();  // in the tree, for what is listed
    }

    bool end_list() {
        list_ = List::none;
        return true;
    }

    bool stop(std::string what) {
        constexpr std::string_view places[] = {"", " in the vocabulary", " in the vocabulary",
                                               " in the merges"};
        problem_ = what + std::string(places[static_cast<std::size_t>(list_)]);
        return false;
    }

    JsonModel& model_;
    JsonBuilder rest_;
    std::string problem_;
    std::string_view key_in_model_;
    std::size_t depth_ = 0, list_depth_ = 0;
    List list_ = List::none;
    bool is_in_model_ = false;
    bool has_text_ = false;  // of a token whose number comes next
    int parts_of_merge_ = 0;
};

/// Parses a tokenizer.json, which ends with a NUL. `model` receives ranges of the tree's text.
inline JsonDocument parse_tokenizer_json(std::vector<char> text, std::string where, JsonModel& model) {
    auto tree = std::make_unique<JsonTree>();
    tree->where = std::move(where);
    tree->text = std::move(text);
    const std::size_t size = tree->text.size() - 1;
    if (size > std::size_t{1} << 30) {
        throw FileError(tree->where + ": expected a JSON text of at most 1073741824 bytes, got " +
                        std::to_string(size));
    }
    if (!is_utf8({tree->text.data(), size}))
        throw FileError(tree->where + ": expected JSON in UTF-8, got other bytes");
    TokenizerJsonHandler handler(*tree, model);
    rapidjson::InsituStringStream stream(tree->text.data());
    constexpr unsigned flags = rapidjson::kParseInsituFlag | rapidjson::kParseNumbersAsStringsFlag;
    const rapidjson::ParseResult result = rapidjson::Reader().Parse<flags>(stream, handler);
    std::string problem = handler.problem();
    std::size_t offset = result.Offset();
    if (problem.empty() && result.IsError()) problem = rapidjson::GetParseError_En(result.Code());
    if (problem.empty() && stream.Tell() < size) {
        problem = "a NUL byte";
        offset = stream.Tell();
    }
    if (!problem.empty()) {
        throw FileError(tree->where + ": expected a tokenizer's JSON, got at byte " + std::to_string(offset) +
                        ": " + problem);
    }
    return JsonDocument(std::move(tree));
}

inline Vocabulary make_vocabulary(const JsonModel& model) {
    Vocabulary vocabulary;
    std::size_t bytes = 0;
    for (const JsonModel::Token& token : model.vocabulary) bytes += token.text.size;
    vocabulary.reserve(model.vocabulary.size(), bytes);
    for (const JsonModel::Token& token : model.vocabulary)
        vocabulary.add(model.text(token.text),
                       static_cast<TokenId>(std::min<std::uint64_t>(token.id, absent)));
    return vocabulary;
}

/// The merges, by the ids of what they join and make. One pass for each table that is searched: together they
/// are more than a processor keeps at hand.
inline MergeTable make_merges(const JsonModel& model, const Vocabulary& vocabulary, std::string_view prefix) {
    const auto id_of = [&](std::size_t rank, std::string_view text) {
        const TokenId id = vocabulary.find(text);
        if (id != absent) return id;
        throw Error("merge " + std::to_string(rank) + ": expected a token of the vocabulary, got \"" +
                    std::string(text) + "\"");
    };
    std::vector<MergeTable::Entry> entries(model.merges.size());
    for (std::uint32_t rank = 0; rank < entries.size(); ++rank) {
        const auto [left, right] = model.merges[rank];
        entries[rank] = {id_of(rank, model.text(left)), id_of(rank, model.text(right)), {rank, absent}};
    }
    std::string joined;
    TokenId result = 0;
    for (MergeTable::Entry& entry : entries) {
        const std::string_view right = vocabulary[entry.right];
        joined = vocabulary[entry.left];
        joined += right.substr(std::min(prefix.size(), right.size()));
        // Merges often stand in the order of what they make.
        if (vocabulary[result] != joined && vocabulary[++result] != joined)
            result = id_of(entry.merge.rank, joined);
        entry.merge.result = result;
    }
    MergeTable merges;
    merges.reserve(entries.size());
    for (const MergeTable::Entry& entry : entries) merges.add(entry.left, entry.right, entry.merge);
    return merges;
}

inline TokenizerModel make_model(const Json& json, const JsonModel& model, bool is_byte_level) {
    const std::string_view type = model_type(json, model.has_scores, model.has_merges);
    if (!model.has_vocabulary) json.fail("a model with a vocabulary");
    if (model.has_scores != (type == "Unigram"))
        json.at("vocab").fail("the vocabulary of a model of this type");
    return with_place(json.where(), [&]() -> TokenizerModel {
        if (type == "Unigram") {
            std::vector<UnigramToken> tokens;
            for (const JsonModel::Token& token : model.vocabulary)
                tokens.push_back({std::string(model.text(token.text)), token.score});
            return Unigram(std::move(tokens), read_unigram_options(json));
        }
        Vocabulary vocabulary = make_vocabulary(model);
        if (type == "WordPiece") return WordPiece(std::move(vocabulary), read_word_piece_options(json));
        if (type == "WordLevel") return WordLevel(std::move(vocabulary), text_or(json, "unk_token", "<unk>"));
        if (!model.has_merges) json.fail("a model with merges");
        BytePairOptions options = read_byte_pair_options(json);
        MergeTable merges = make_merges(model, vocabulary, options.continuing_prefix);
        // A file without some bytes, or with marks within words, is read as the characters that it writes.
        const bool has_byte_units = is_byte_level && options.continuing_prefix.empty() &&
                                    options.end_suffix.empty() && has_all_bytes(vocabulary);
        return BytePair(std::move(vocabulary), std::move(merges), std::move(options),
                        has_byte_units ? BytePairUnits::bytes : BytePairUnits::characters);
    });
}

/// Gives added tokens the ids that Hugging Face's tokenizers give them, which need not be the file's: the
/// model's, or the next ones that are free.
inline void number_added_tokens(std::vector<AddedToken>& tokens, const TokenizerModel& model) {
    StringTable numbered;
    std::vector<TokenId> ids;
    auto next = static_cast<TokenId>(model.count());
    for (AddedToken& token : tokens) {
        const std::uint32_t index = numbered.add(token.content);
        if (index == ids.size()) {
            const TokenId id = model.find(token.content);
            ids.push_back(id == absent ? next++ : id);
        }
        token.id = ids[index];
    }
    std::erase_if(tokens, [](const AddedToken& token) { return token.content.empty(); });
}

/// The parts that a text describes, which ends with a NUL.
inline TokenizerParts make_parts(std::vector<char> text, std::string where) {
    JsonModel model;
    const JsonDocument document = parse_tokenizer_json(std::move(text), std::move(where), model);
    const Json root = document.root();
    const Json model_json = root.at("model");
    if (!model_json.is(JsonKind::object)) model_json.fail("an object");
    PreTokenizer pre_tokenizer = detail::read_pre_tokenizer(root.find("pre_tokenizer"));
    const bool is_byte_level =
        !pre_tokenizer.empty() && pre_tokenizer.back().get_if<pre_tokenizer::ByteLevel>();
    TokenizerParts parts{detail::make_model(model_json, model, is_byte_level)};
    parts.pre_tokenizer = std::move(pre_tokenizer);
    parts.normalizer = detail::read_normalizer(root.find("normalizer"));
    parts.post_processor = detail::read_post_processor(root.find("post_processor"));
    parts.decoder = detail::read_decoder(root.find("decoder"));
    parts.truncation = detail::read_truncation(root.find("truncation"));
    parts.padding = detail::read_padding(root.find("padding"));
    parts.added_tokens = detail::read_added_tokens(root.find("added_tokens"));
    detail::number_added_tokens(parts.added_tokens, parts.model);
    return parts;
}

/// A file's bytes, and a NUL.
inline std::vector<char> read_with_nul(const std::string& path) {
    if (EmbeddedFiles::find(path)) {
        const std::string text = read_file(path);
        return {text.c_str(), text.c_str() + text.size() + 1};
    }
    std::size_t size = 0;
    FileDescriptor file(open_regular_file(path, size));
    std::vector<char> text(size + 1);
    for (std::size_t filled = 0; filled < size;) {
        const ssize_t count = ::read(file.number(), text.data() + filled, size - filled);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw_system_error(path, "reading", errno);
        if (count == 0) throw FileError(path + ": expected " + std::to_string(size) + " bytes, got fewer");
        filled += static_cast<std::size_t>(count);
    }
    return text;
}

}  // namespace detail

/// What a tokenizer.json says (Hugging Face's tokenizers, version 1.0). `where` names the text's origin in
/// messages. Throws FileError with the place of what is wrong.
inline TokenizerParts parse_tokenizer_json(std::string_view text, std::string where) {
    std::vector<char> bytes(text.size() + 1);
    std::copy(text.begin(), text.end(), bytes.begin());
    return detail::make_parts(std::move(bytes), std::move(where));
}

/// What a file says, as `parse_tokenizer_json`.
inline TokenizerParts read_tokenizer_json(const std::string& path) {
    return detail::make_parts(detail::read_with_nul(path), path);
}

}  // namespace tenon
