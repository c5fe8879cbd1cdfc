#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/gguf.hpp"
#include "tenon/io/json.hpp"
#include "tenon/model/configuration_table.hpp"

namespace tenon {

/// A configuration read at run time: owns what its table views. Moving it keeps the tables valid.
class OwnedConfiguration {
public:
    /// Flattens a JSON object. `where` names it in messages.
    OwnedConfiguration(JsonDocument document, std::string where)
        : document_(std::move(document)), where_(where.begin(), where.end()) {
        Json root = document_->root();
        if (!root.is(JsonKind::object)) root.fail("an object");
        flatten(root, "");
        set_keys();
    }

    /// The metadata of a GGUF file, but for the tokenizer's; elements of lists as those of JSON's arrays.
    /// More entries say what the tensors do: "vocab_size", the rows of the embedding, and "type_vocab_size"
    /// those of token types', "tie_word_embeddings", whether there is no head, and divisors of rotary
    /// frequencies, as "rope_freqs.0".
    explicit OwnedConfiguration(const Gguf& file) : where_(file.where().begin(), file.where().end()) {
        for (const GgufValue& value : file.metadata().values())
            if (!value.key.starts_with("tokenizer.")) flatten(value);
        const auto append_rows = [&](std::string_view key, std::string_view tensor) {
            if (const GgufEntry* const entry = file.find(tensor))
                append(key, {.kind = ConfigurationKind::integer, .integer = entry->shape.front()});
        };
        append_rows("vocab_size", "token_embd.weight");
        append_rows("type_vocab_size", "token_types.weight");
        append("tie_word_embeddings",
               {.kind = ConfigurationKind::boolean, .integer = file.find("output.weight") == nullptr});
        for (const char* const name : {"rope_freqs", "rope_factors_short", "rope_factors_long"})
            append_divisors(file, name);
        set_keys();
        own_texts();
    }

    ConfigurationTable table() const {
        return ConfigurationTable(entries_, std::string_view(where_.data(), where_.size()));
    }

private:
    void flatten(Json value, const std::string& key) {
        std::string prefix = key.empty() ? key : key + '.';
        if (value.is(JsonKind::object)) {
            for (Json member : value.members()) flatten(member, prefix + std::string(member.key()));
        } else if (value.is(JsonKind::array)) {
            std::size_t position = 0;
            for (Json element : value.elements()) flatten(element, prefix + std::to_string(position++));
        } else {
            append(key, entry_of(value));
        }
    }

    void flatten(const GgufValue& value) {
        const std::string key(value.key);
        std::size_t position = 0;
        const auto add = [&](const ConfigurationEntry& entry) {
            append(value.is_list ? key + '.' + std::to_string(position++) : key, entry);
        };
        const auto kind =
            value.type == GgufValueType::boolean ? ConfigurationKind::boolean : ConfigurationKind::integer;
        for (const std::int64_t integer : value.integers()) add({.kind = kind, .integer = integer});
        for (const double real : value.reals()) add({.kind = ConfigurationKind::real, .real = real});
        for (const std::string_view text : value.texts())
            add({.kind = ConfigurationKind::text, .text = text});
    }

    /// The elements of a tensor of settings.
    void append_divisors(const Gguf& file, const std::string& name) {
        constexpr std::int64_t most = 1024;
        const GgufEntry* const entry = file.find(name + ".weight");
        if (!entry) return;
        if (entry->type != GgmlType::f32 || entry->shape.size() != 1 || entry->shape[0] > most)
            throw FileError(file.where() + ": " + entry->name + ": expected one axis of at most " +
                            std::to_string(most) + " elements of type F32, got others");
        for (std::int64_t i = 0; i < entry->shape[0]; ++i) {
            float divisor;
            std::memcpy(&divisor, entry->bytes.data() + static_cast<std::size_t>(i) * sizeof divisor,
                        sizeof divisor);
            append(name + '.' + std::to_string(i), {.kind = ConfigurationKind::real, .real = divisor});
        }
    }

    void append(std::string_view key, const ConfigurationEntry& entry) {
        keys_.insert(keys_.end(), key.begin(), key.end());
        key_sizes_.push_back(key.size());
        if (keys_.size() > maximum_keys)
            throw FileError(std::string(where_.data(), where_.size()) +
                            ": expected keys of at most 16 MiB together, got more");
        entries_.push_back(entry);
    }

    /// Views of the keys are taken only once their characters stay in place.
    void set_keys() {
        for (std::size_t i = 0, at = 0; i < entries_.size(); at += key_sizes_[i++])
            entries_[i].key = std::string_view(keys_.data() + at, key_sizes_[i]);
    }

    /// Copies the texts, so that they outlive the file.
    void own_texts() {
        for (const ConfigurationEntry& entry : entries_)
            texts_.insert(texts_.end(), entry.text.begin(), entry.text.end());
        std::size_t at = 0;
        for (ConfigurationEntry& entry : entries_) {
            entry.text = std::string_view(texts_.data() + at, entry.text.size());
            at += entry.text.size();
        }
    }

    static ConfigurationEntry entry_of(Json value) {
        ConfigurationEntry entry;
        switch (value.kind()) {
            case JsonKind::boolean:
                entry.kind = ConfigurationKind::boolean;
                entry.integer = value.boolean();
                break;
            case JsonKind::integer:
                entry.kind = ConfigurationKind::integer;
                entry.integer = value.integer();
                break;
            case JsonKind::real:
                entry.kind = ConfigurationKind::real;
                entry.real = value.real();
                break;
            case JsonKind::text:
                entry.kind = ConfigurationKind::text;
                entry.text = value.text();
                break;
            default:
                break;
        }
        return entry;
    }

    /// A long key over a long array would multiply.
    static constexpr std::size_t maximum_keys = std::size_t{1} << 24;

    // Vectors, since a moved string may move its characters.
    std::optional<JsonDocument> document_;
    std::vector<char> where_;
    std::vector<char> keys_, texts_;
    std::vector<std::size_t> key_sizes_;
    std::vector<ConfigurationEntry> entries_;
};

/// Reads a configuration: a checkpoint's config.json, or the metadata of a GGUF file, which its name's end
/// tells. Throws FileError.
inline OwnedConfiguration read_configuration(const std::string& path) {
    if (path.ends_with(".gguf")) return OwnedConfiguration(Gguf::open(path));
    return OwnedConfiguration(parse_json(read_file(path), path), path);
}

}  // namespace tenon
