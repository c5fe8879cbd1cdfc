#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/io/file.hpp"
#include "tenon/io/json.hpp"
#include "tenon/model/configuration_table.hpp"

namespace tenon {

/// A configuration read at run time: owns what its table views. Moving it keeps the tables valid.
class OwnedConfiguration {
public:
    /// Flattens a JSON object. `where` names it in messages.
    OwnedConfiguration(JsonDocument document, std::string where)
        : document_(std::move(document)), where_(where.begin(), where.end()) {
        Json root = document_.root();
        if (!root.is(JsonKind::object)) root.fail("an object");
        flatten(root, "");
        // Views of the keys are taken only once their characters stay in place.
        for (std::size_t i = 0, at = 0; i < entries_.size(); at += key_sizes_[i++]) {
            entries_[i].key = std::string_view(keys_.data() + at, key_sizes_[i]);
        }
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
            keys_.insert(keys_.end(), key.begin(), key.end());
            key_sizes_.push_back(key.size());
            if (keys_.size() > maximum_keys) value.fail("keys of at most 16 MiB together");
            entries_.push_back(entry_of(value));
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
    JsonDocument document_;
    std::vector<char> where_;
    std::vector<char> keys_;
    std::vector<std::size_t> key_sizes_;
    std::vector<ConfigurationEntry> entries_;
};

/// Reads a configuration such as a checkpoint's config.json. Throws FileError.
inline OwnedConfiguration read_configuration(const std::string& path) {
    return OwnedConfiguration(parse_json(read_file(path), path), path);
}

}  // namespace tenon
