#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/json.hpp"

namespace tenon::jinja {

class Value;
struct Function;

using List = std::vector<Value>;

/// Keys and values in the order of insertion, as Python's dictionaries have them.
class Map {
public:
    using Member = std::pair<std::string, Value>;

    Map() = default;
    Map(std::initializer_list<Member> members);

    const std::vector<Member>& members() const { return members_; }
    const Value* find(std::string_view key) const;
    void set(std::string_view key, Value value);

private:
    std::vector<Member> members_;
};

/// A value of a template: what JSON knows, and beside it what is undefined, and functions. Lists and maps are
/// shared and never change, but for namespaces, which templates assign to.
class Value {
public:
    struct Undefined {
        std::string name;
    };
    struct None {};
    using Text = std::string;
    using ListPointer = std::shared_ptr<const List>;
    using MapPointer = std::shared_ptr<const Map>;
    struct Namespace {
        std::shared_ptr<Map> members;
    };
    using FunctionPointer = std::shared_ptr<const Function>;

    Value() : content_(None{}) {}
    Value(Undefined undefined) : content_(std::move(undefined)) {}
    Value(bool value) : content_(value) {}
    Value(std::int64_t value) : content_(value) {}
    Value(int value) : content_(std::int64_t{value}) {}
    Value(std::size_t value) : content_(static_cast<std::int64_t>(value)) {}
    Value(double value) : content_(value) {}
    Value(std::string text) : content_(std::move(text)) {}
    Value(std::string_view text) : content_(std::string(text)) {}
    Value(const char* text) : content_(std::string(text)) {}
    /// Throws Error for lists and maps that are more than 500 levels deep: what walks them recurses.
    Value(List list) {
        for (const Value& element : list) hold(element);
        content_ = std::make_shared<const List>(std::move(list));
    }
    Value(Map map) {
        for (const auto& [key, member] : map.members()) hold(member);
        content_ = std::make_shared<const Map>(std::move(map));
    }
    Value(Namespace names) : content_(std::move(names)), has_namespace_(true) {}
    /// A function that keeps a value.
    Value(FunctionPointer function, const Value& kept = {}) : content_(std::move(function)) { hold(kept); }
    Value(const Json& json);

    template <class T>
    bool is() const {
        return std::holds_alternative<T>(content_);
    }
    template <class T>
    const T* as() const {
        return std::get_if<T>(&content_);
    }

    bool is_undefined() const { return is<Undefined>(); }
    bool is_none() const { return is<None>(); }
    bool is_text() const { return is<Text>(); }
    bool is_number() const { return is<std::int64_t>() || is<double>() || is<bool>(); }
    const std::string* text() const { return as<Text>(); }
    const List* list() const { return is<ListPointer>() ? as<ListPointer>()->get() : nullptr; }
    const Map* map() const {
        if (const auto* names = as<Namespace>()) return names->members.get();
        return is<MapPointer>() ? as<MapPointer>()->get() : nullptr;
    }
    /// A truth value or an integer.
    bool is_integer() const { return is<std::int64_t>() || is<bool>(); }
    std::int64_t integer() const {
        if (const bool* truth = as<bool>()) return *truth;
        return *as<std::int64_t>();
    }
    /// Any number.
    double real() const { return is<double>() ? *as<double>() : static_cast<double>(integer()); }

    /// Whether it counts as true: neither zero nor empty, None or undefined.
    bool is_true() const;

    /// What it is, in Python's words.
    std::string_view kind() const;

    /// Whether it is a namespace, or holds one.
    bool has_namespace() const { return has_namespace_; }

    friend bool operator==(const Value& a, const Value& b);

private:
    void hold(const Value& part) {
        depth_ = std::max(depth_, part.depth_ + 1);
        has_namespace_ = has_namespace_ || part.has_namespace_;
        if (depth_ > 500) throw Error("expected values at most 500 levels deep, got more");
    }

    std::variant<Undefined, None, bool, std::int64_t, double, Text, ListPointer, MapPointer, Namespace,
                 FunctionPointer>
        content_;
    int depth_ = 0;  // of what it holds
    bool has_namespace_ = false;
};

inline Map::Map(std::initializer_list<Member> members) : members_(members) {}

inline const Value* Map::find(std::string_view key) const {
    for (const Member& member : members_) {
        if (member.first == key) return &member.second;
    }
    return nullptr;
}

inline void Map::set(std::string_view key, Value value) {
    for (Member& member : members_) {
        if (member.first != key) continue;
        member.second = std::move(value);
        return;
    }
    members_.emplace_back(key, std::move(value));
}

inline Value::Value(const Json& json) {
    switch (json.kind()) {
        case JsonKind::null:
            content_ = None{};
            break;
        case JsonKind::boolean:
            content_ = json.boolean();
            break;
        case JsonKind::integer:
            content_ = json.integer();
            break;
        case JsonKind::real:
            content_ = json.real();
            break;
        case JsonKind::text:
            content_ = std::string(json.text());
            break;
        case JsonKind::array: {
            List list;
            for (const Json element : json.elements()) list.emplace_back(element);
            *this = Value(std::move(list));
            break;
        }
        case JsonKind::object: {
            Map map;
            for (const Json member : json.members()) map.set(member.key(), Value(member));
            *this = Value(std::move(map));
            break;
        }
    }
}

inline bool Value::is_true() const {
    if (is_number()) return real() != 0;
    if (is_text()) return !text()->empty();
    if (list()) return !list()->empty();
    if (is<Namespace>()) return true;
    if (map()) return !map()->members().empty();
    return is<FunctionPointer>();
}

inline std::string_view Value::kind() const {
    constexpr std::string_view names[] = {"undefined", "None",   "a bool",    "an int",      "a float",
                                          "a string",  "a list", "a mapping", "a namespace", "a function"};
    return names[content_.index()];
}

inline bool operator==(const Value& a, const Value& b) {
    if (a.is_number() && b.is_number()) {
        return a.is_integer() && b.is_integer() ? a.integer() == b.integer() : a.real() == b.real();
    }
    if (a.is_text() && b.is_text()) return *a.text() == *b.text();
    if (a.list() && b.list()) return *a.list() == *b.list();
    if (a.map() && b.map()) {
        if (a.map()->members().size() != b.map()->members().size()) return false;
        for (const auto& [key, value] : a.map()->members()) {
            const Value* other = b.map()->find(key);
            if (!other || !(value == *other)) return false;
        }
        return true;
    }
    return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

namespace detail {

inline std::string written_real(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
    char digits[40];
    // Python writes exponents from 1e16 on, and the shortest digits that are read back as the same.
    const double size = std::fabs(value);
    const bool is_plain = size == 0 || (size >= 1e-4 && size < 1e16);
    const auto format = is_plain ? std::chars_format::fixed : std::chars_format::scientific;
    std::string text(digits, std::to_chars(digits, digits + sizeof digits, value, format).ptr);
    if (is_plain && text.find('.') == std::string::npos) text += ".0";
    return text;
}

inline void append_python_string(std::string& to, std::string_view text) {
    const bool has_single = text.find('\'') != text.npos, has_double = text.find('"') != text.npos;
    const char quote = has_single && !has_double ? '"' : '\'';
    to += quote;
    for (const char character : text) {
        const auto byte = static_cast<unsigned char>(character);
        if (character == quote || character == '\\') {
            to += '\\';
            to += character;
        } else if (character == '\n') {
            to += "\\n";
        } else if (character == '\r') {
            to += "\\r";
        } else if (character == '\t') {
            to += "\\t";
        } else if (byte < 0x20 || byte == 0x7F) {
            constexpr std::string_view digits = "0123456789abcdef";
            to += "\\x";
            to += digits[byte >> 4];
            to += digits[byte & 15];
        } else {
            to += character;
        }
    }
    to += quote;
}

}  // namespace detail

/// Appends a value as Python prints it; texts within others, and with `is_quoted`, in quotes.
inline void append_value(std::string& to, const Value& value, bool is_quoted = false) {
    if (value.is_none()) {
        to += "None";
    } else if (const bool* truth = value.as<bool>()) {
        to += *truth ? "True" : "False";
    } else if (value.is_integer()) {
        to += std::to_string(value.integer());
    } else if (const double* real = value.as<double>()) {
        to += detail::written_real(*real);
    } else if (value.is_text()) {
        if (is_quoted) {
            detail::append_python_string(to, *value.text());
        } else {
            to += *value.text();
        }
    } else if (const List* list = value.list()) {
        to += '[';
        for (std::size_t i = 0; i < list->size(); ++i) {
            if (i > 0) to += ", ";
            append_value(to, (*list)[i], true);
        }
        to += ']';
    } else if (const Map* map = value.map()) {
        to += '{';
        bool is_first = true;
        for (const auto& [key, member] : map->members()) {
            if (!std::exchange(is_first, false)) to += ", ";
            detail::append_python_string(to, key);
            to += ": ";
            append_value(to, member, true);
        }
        to += '}';
    } else if (!value.is_undefined()) {
        to += "<function>";
    }
}

inline std::string to_text(const Value& value) {
    std::string text;
    append_value(text, value);
    return text;
}

}  // namespace tenon::jinja
