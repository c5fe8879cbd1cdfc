#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tenon/core/error.hpp"

namespace tenon {

/// What a configuration's value is.
enum class ConfigurationKind : std::uint8_t { null, boolean, integer, real, text };

constexpr std::string_view name_of(ConfigurationKind kind) {
    constexpr std::string_view names[] = {"null", "a boolean", "an integer", "a real", "a text"};
    return names[static_cast<std::size_t>(kind)];
}

/// One value of a configuration. `key` is its path, joined by dots: "rope_parameters.rope_theta",
/// "architectures.0". Only the field that `kind` names is meant; a boolean is the integer 0 or 1.
struct ConfigurationEntry {
    std::string_view key = {};
    ConfigurationKind kind = ConfigurationKind::null;
    std::int64_t integer = 0;
    double real = 0;
    std::string_view text = {};

    friend constexpr bool operator==(const ConfigurationEntry&, const ConfigurationEntry&) = default;
};

/// A flat view of a configuration, which it does not own. It works on a table built into the program, in
/// constant expressions too, and on one read at run time (see read_configuration). Each kind has three
/// look-ups: one gives nothing for a key that is missing or null, one gives a default for it, and `require_`
/// throws. A value of another kind always throws; integers pass as reals. What throws is a FileError at run
/// time, and a compile error in a constant expression.
class ConfigurationTable {
public:
    constexpr explicit ConfigurationTable(std::span<const ConfigurationEntry> entries,
                                          std::string_view where = "configuration")
        : entries_(entries), where_(where) {}

    constexpr std::span<const ConfigurationEntry> entries() const { return entries_; }
    constexpr auto begin() const { return entries_.begin(); }
    constexpr auto end() const { return entries_.end(); }
    /// The name of the configuration in messages.
    constexpr std::string_view where() const { return where_; }

    /// The same table, whose look-ups are given what follows `prefix` and a dot in a key.
    constexpr ConfigurationTable below(std::string_view prefix) const {
        ConfigurationTable table = *this;
        table.prefix_ = prefix;
        return table;
    }

    /// Calls f(key, entry) for the entries of a table below a prefix, the key without it.
    template <class F>
    constexpr void for_each(F&& f) const {
        for (const ConfigurationEntry& entry : entries_)
            if (const auto key = without_prefix(entry.key)) f(*key, entry);
    }

    /// The first entry of exactly that key, if there is one.
    constexpr std::optional<ConfigurationEntry> find(std::string_view key) const {
        for (const ConfigurationEntry& entry : entries_) {
            if (without_prefix(entry.key) == key) return entry;
        }
        return std::nullopt;
    }

    constexpr std::optional<std::int64_t> integer(std::string_view key) const {
        std::optional<ConfigurationEntry> entry = find_kind(key, ConfigurationKind::integer);
        return entry ? std::optional(entry->integer) : std::nullopt;
    }
    constexpr std::int64_t integer(std::string_view key, std::int64_t otherwise) const {
        return integer(key).value_or(otherwise);
    }
    constexpr std::int64_t require_integer(std::string_view key) const {
        if (auto value = integer(key)) return *value;
        throw_missing_or_other_kind(key, ConfigurationKind::integer);
    }

    /// An extent of a model: an integer from 1 to 2^31 - 1. Throws FileError for any other.
    constexpr int require_length(std::string_view key) const {
        return checked_length(key, require_integer(key));
    }
    constexpr int length(std::string_view key, int otherwise) const {
        return integer(key) ? require_length(key) : otherwise;
    }

    constexpr std::optional<double> real(std::string_view key) const {
        std::optional<ConfigurationEntry> entry = find(key);
        if (entry && entry->kind == ConfigurationKind::integer) return static_cast<double>(entry->integer);
        entry = find_kind(key, ConfigurationKind::real);
        return entry ? std::optional(entry->real) : std::nullopt;
    }
    constexpr double real(std::string_view key, double otherwise) const {
        return real(key).value_or(otherwise);
    }
    constexpr double require_real(std::string_view key) const {
        if (auto value = real(key)) return *value;
        throw_missing_or_other_kind(key, ConfigurationKind::real);
    }

    constexpr std::optional<bool> boolean(std::string_view key) const {
        std::optional<ConfigurationEntry> entry = find_kind(key, ConfigurationKind::boolean);
        return entry ? std::optional(entry->integer != 0) : std::nullopt;
    }
    constexpr bool boolean(std::string_view key, bool otherwise) const {
        return boolean(key).value_or(otherwise);
    }
    constexpr bool require_boolean(std::string_view key) const {
        if (auto value = boolean(key)) return *value;
        throw_missing_or_other_kind(key, ConfigurationKind::boolean);
    }

    constexpr std::optional<std::string_view> text(std::string_view key) const {
        std::optional<ConfigurationEntry> entry = find_kind(key, ConfigurationKind::text);
        return entry ? std::optional(entry->text) : std::nullopt;
    }
    constexpr std::string_view text(std::string_view key, std::string_view otherwise) const {
        return text(key).value_or(otherwise);
    }
    constexpr std::string_view require_text(std::string_view key) const {
        if (auto value = text(key)) return *value;
        throw_missing_or_other_kind(key, ConfigurationKind::text);
    }

private:
    /// Nothing for keys that do not have the prefix.
    constexpr std::optional<std::string_view> without_prefix(std::string_view key) const {
        if (prefix_.empty()) return key;
        if (!key.starts_with(prefix_) || key.substr(prefix_.size(), 1) != ".") return std::nullopt;
        return key.substr(prefix_.size() + 1);
    }

    /// The place of a key in messages.
    std::string place_of(std::string_view key) const {
        return std::string(where_) + ": " + std::string(prefix_) + (prefix_.empty() ? "" : ".") +
               std::string(key);
    }

    constexpr int checked_length(std::string_view key, std::int64_t value) const {
        if (value < 1 || value > 0x7fffffff)
            throw FileError(place_of(key) + ": expected a number from 1 to 2147483647, got " +
                            std::to_string(value));
        return static_cast<int>(value);
    }

    /// The entry of that key, nothing if it is missing or null.
    constexpr std::optional<ConfigurationEntry> find_kind(std::string_view key,
                                                          ConfigurationKind kind) const {
        std::optional<ConfigurationEntry> entry = find(key);
        if (!entry || entry->kind == ConfigurationKind::null) return std::nullopt;
        if (entry->kind != kind) throw_missing_or_other_kind(key, kind);
        return entry;
    }

    [[noreturn]] void throw_missing_or_other_kind(std::string_view key, ConfigurationKind kind) const {
        std::optional<ConfigurationEntry> entry = find(key);
        throw FileError(place_of(key) + ": expected " + std::string(name_of(kind)) + ", got " +
                        (entry ? std::string(name_of(entry->kind)) : "nothing"));
    }

    std::span<const ConfigurationEntry> entries_;
    std::string_view where_, prefix_;
};

}  // namespace tenon
