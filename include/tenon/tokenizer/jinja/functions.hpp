#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/jinja/text.hpp"
#include "tenon/tokenizer/jinja/value.hpp"

namespace tenon::jinja {

/// What a call passes: values by position and by name.
struct Arguments {
    std::vector<Value> values;
    std::vector<Map::Member> named{};

    std::size_t size() const { return values.size(); }

    /// The argument at a position or of a name, or the preset.
    Value get(std::size_t position, std::string_view name, Value preset = {}) const {
        if (position < values.size()) return values[position];
        for (const auto& [key, value] : named)
            if (key == name) return value;
        return preset;
    }
    bool has(std::size_t position, std::string_view name) const {
        return position < values.size() ||
               std::any_of(named.begin(), named.end(), [&](const auto& one) { return one.first == name; });
    }
};

/// Something that can be called.
struct Function {
    std::function<Value(const Arguments&)> call;
};

inline const std::string& text_of(const Value& value, std::string_view wanted = "a string") {
    if (!value.is_text())
        throw Error("expected " + std::string(wanted) + ", got " + std::string(value.kind()));
    return *value.text();
}

inline std::int64_t integer_of(const Value& value) {
    if (!value.is_integer()) throw Error("expected an int, got " + std::string(value.kind()));
    return value.integer();
}

/// The elements of a list, the keys of a mapping, the characters of a string; none of what is undefined.
inline List elements_of(const Value& value) {
    if (const List* list = value.list()) return *list;
    List all;
    if (const Map* map = value.map()) {
        for (const auto& [key, member] : map->members()) all.emplace_back(key);
    } else if (value.is_text()) {
        for (const std::string_view character : characters(*value.text())) all.emplace_back(character);
    } else if (!value.is_undefined()) {
        throw Error("expected something to go through, got " + std::string(value.kind()));
    }
    return all;
}

inline std::int64_t length_of(const Value& value) {
    return static_cast<std::int64_t>(elements_of(value).size());
}

/// The member of a mapping, the element of a list or the character of a string; negative positions count from
/// the end.
inline Value item_of(const Value& value, const Value& index) {
    if (const Map* map = value.map()) {
        if (index.is_text())
            if (const Value* member = map->find(*index.text())) return *member;
        return Value::Undefined{to_text(index)};
    }
    if (index.is_integer() && (value.list() || value.is_text())) {
        const List all = elements_of(value);
        const auto size = static_cast<std::int64_t>(all.size());
        const std::int64_t at = index.integer() < 0 ? index.integer() + size : index.integer();
        if (at >= 0 && at < size) return all[static_cast<std::size_t>(at)];
    }
    if (value.is_undefined())
        throw Error("expected a value before [" + to_text(index) + "], got the undefined \"" +
                    value.as<Value::Undefined>()->name + "\"");
    return Value::Undefined{to_text(index)};
}

/// Python's slices of lists and strings.
inline Value slice_of(const Value& value, const Value& begin, const Value& end, const Value& step_value) {
    if (!value.list() && !value.is_text())
        throw Error("expected a list or a string to slice, got " + std::string(value.kind()));
    const List all = elements_of(value);
    const auto size = static_cast<std::int64_t>(all.size());
    const std::int64_t step = step_value.is_none() ? 1 : integer_of(step_value);
    if (step == 0) throw Error("expected a slice's step, got 0");
    const auto bound = [&](const Value& given, std::int64_t preset) {
        if (given.is_none()) return preset;
        const std::int64_t at = integer_of(given) < 0 ? integer_of(given) + size : integer_of(given);
        return std::clamp<std::int64_t>(at, step < 0 ? -1 : 0, step < 0 ? size - 1 : size);
    };
    List taken;
    const std::int64_t first = bound(begin, step < 0 ? size - 1 : 0), last = bound(end, step < 0 ? -1 : size);
    for (std::int64_t at = first; step < 0 ? at > last : at < last;) {
        taken.push_back(all[static_cast<std::size_t>(at)]);
        // A step may be as large as an integer can be.
        if (step < 0 ? step < last - at : step > last - at) break;
        at += step;
    }
    if (value.list()) return taken;
    std::string text;
    for (const Value& character : taken) text += *character.text();
    return text;
}

/// -1, 0 or 1. Throws Error for values that have no order.
inline int order_of(const Value& a, const Value& b) {
    const auto sign = [](auto x, auto y) { return x < y ? -1 : y < x ? 1 : 0; };
    if (a.is_number() && b.is_number()) {
        return a.is_integer() && b.is_integer() ? sign(a.integer(), b.integer()) : sign(a.real(), b.real());
    }
    if (a.is_text() && b.is_text()) return sign(*a.text(), *b.text());
    if (a.list() && b.list()) {
        for (std::size_t i = 0; i < a.list()->size() && i < b.list()->size(); ++i)
            if (const int order = order_of((*a.list())[i], (*b.list())[i])) return order;
        return sign(a.list()->size(), b.list()->size());
    }
    throw Error("expected values that can be ordered, got " + std::string(a.kind()) + " and " +
                std::string(b.kind()));
}

inline bool contains(const Value& all, const Value& one) {
    if (all.is_text()) return all.text()->find(text_of(one, "a string to look for")) != std::string::npos;
    if (const Map* map = all.map()) return one.is_text() && map->find(*one.text());
    const List list = elements_of(all);
    return std::find(list.begin(), list.end(), one) != list.end();
}

namespace detail {

inline Value repeated(const Value& value, std::int64_t count) {
    const std::size_t size = value.list() ? value.list()->size() : value.text()->size();
    const auto times = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
    if (size > 0 && times > maximum_size / size) require_size(maximum_size + 1);
    List list;
    std::string text;
    for (std::size_t i = 0; i < times && size > 0; ++i) {
        if (value.list()) {
            list.insert(list.end(), value.list()->begin(), value.list()->end());
        } else {
            text += *value.text();
        }
    }
    return value.list() ? Value(std::move(list)) : Value(std::move(text));
}

inline Value integer_result(std::string_view name, std::int64_t a, std::int64_t b) {
    std::int64_t result = 0;
    const bool overflows = name == "+"   ? __builtin_add_overflow(a, b, &result)
                           : name == "-" ? __builtin_sub_overflow(a, b, &result)
                                         : __builtin_mul_overflow(a, b, &result);
    if (overflows) throw Error("expected integers of 64 bits, got more");
    return result;
}

}  // namespace detail

namespace detail {

/// Appends a value in one of Python's formats: s, r, d, i, x, f.
inline void append_formatted(std::string& to, const Value& value, char conversion, int precision) {
    if (conversion == 's' || conversion == 'r') return append_value(to, value, conversion == 'r');
    if (!value.is_number()) throw Error("expected a number to format, got " + std::string(value.kind()));
    char digits[400];
    const std::to_chars_result end =
        conversion == 'f'
            ? std::to_chars(digits, digits + sizeof digits, value.real(), std::chars_format::fixed,
                            std::clamp(precision, 0, 60))
            : std::to_chars(digits, digits + sizeof digits, static_cast<std::int64_t>(value.real()),
                            conversion == 'x' ? 16 : 10);
    to.append(digits, end.ptr);
    require_size(to.size());
}

/// What follows the point of a format, or 6.
inline int precision_of(std::string_view format) {
    int precision = 6;
    const std::size_t point = format.find('.');
    if (point != format.npos)
        std::from_chars(format.data() + point + 1, format.data() + format.size(), precision);
    return precision;
}

constexpr std::string_view conversions = "srdixf";

}  // namespace detail

/// Python's `text % values`, for the conversions %s, %r, %d, %i, %x, %f with a precision, and %%.
inline std::string formatted(std::string_view text, const List& values) {
    std::string result;
    for (std::size_t next = 0; !text.empty();) {
        const std::size_t mark = std::min(text.find('%'), text.size());
        result += text.substr(0, mark);
        text.remove_prefix(mark);
        if (text.empty()) break;
        const std::size_t at = text.find_first_not_of("0123456789.", 1);
        const char conversion = at == text.npos ? ' ' : text[at];
        if (conversion == '%') {
            result += '%';
        } else if (detail::conversions.find(conversion) == std::string_view::npos) {
            throw Error("expected %s, %r, %d, %i, %x, %f or %%, got \"" + std::string(text.substr(0, 4)) +
                        "\"");
        } else {
            if (next == values.size())
                throw Error("expected a value for each conversion, got " + std::to_string(next));
            detail::append_formatted(result, values[next++], conversion,
                                     detail::precision_of(text.substr(1, at - 1)));
        }
        text.remove_prefix(at + 1);
    }
    return result;
}

/// Python's `text.format(...)`: {}, {0}, {name}, each with a format such as {:d} or {:.2f}; {{ and }} are
/// braces.
inline std::string formatted(std::string_view text, const Arguments& arguments) {
    std::string result;
    std::size_t next = 0;
    while (!text.empty()) {
        const std::size_t mark = std::min(text.find_first_of("{}"), text.size());
        result += text.substr(0, mark);
        text.remove_prefix(mark);
        if (text.empty()) break;
        if (text.size() > 1 && text[1] == text[0]) {
            result += text[0];
            text.remove_prefix(2);
            continue;
        }
        const std::size_t end = text.find('}');
        if (text[0] == '}' || end == text.npos) throw Error("expected braces in pairs, got a single one");
        const std::string_view field = text.substr(1, end - 1);
        const std::size_t colon = std::min(field.find(':'), field.size());
        const std::string_view name = field.substr(0, colon),
                               format = field.substr(std::min(colon + 1, field.size()));
        std::size_t position = name.empty() ? next++ : arguments.size();
        std::from_chars(name.data(), name.data() + name.size(), position);
        if (!arguments.has(position, name))
            throw Error("expected an argument for \"{" + std::string(field) + "}\", got none");
        const char conversion = format.empty() ? 's' : format.back();
        if (detail::conversions.find(conversion) == std::string_view::npos)
            throw Error("expected a format such as d or .2f, got \"" + std::string(format) + "\"");
        detail::append_formatted(result, arguments.get(position, name), conversion,
                                 detail::precision_of(format));
        text.remove_prefix(end + 1);
    }
    return result;
}

/// Python's arithmetic on numbers, and + and * on strings and lists.
inline Value arithmetic(std::string_view name, const Value& a, const Value& b) {
    const auto joined = [](std::string left, const std::string& right) -> Value {
        require_size(left.size() + right.size());
        return std::move(left += right);
    };
    if (name == "~") return joined(to_text(a), to_text(b));
    const auto refuse = [&]() -> Value {
        const auto named = [](const Value& value) {
            const auto* undefined = value.as<Value::Undefined>();
            return undefined ? "the undefined \"" + undefined->name + "\"" : std::string(value.kind());
        };
        throw Error("expected operands that \"" + std::string(name) + "\" takes, got " + named(a) + " and " +
                    named(b));
    };
    if (name == "+" && a.is_text() && b.is_text()) return joined(*a.text(), *b.text());
    if (name == "+" && a.list() && b.list()) {
        require_size(a.list()->size() + b.list()->size());
        List list = *a.list();
        list.insert(list.end(), b.list()->begin(), b.list()->end());
        return list;
    }
    if (name == "*" && (a.is_text() || a.list()) && b.is_integer()) return detail::repeated(a, b.integer());
    if (name == "*" && (b.is_text() || b.list()) && a.is_integer()) return detail::repeated(b, a.integer());
    if (name == "%" && a.is_text()) return formatted(*a.text(), b.list() ? *b.list() : List{b});
    if (!a.is_number() || !b.is_number()) return refuse();
    const bool are_integers = a.is_integer() && b.is_integer();
    if (are_integers && (name == "+" || name == "-" || name == "*"))
        return detail::integer_result(name, a.integer(), b.integer());
    if (are_integers && name == "**" && b.integer() >= 0) {
        Value result(1);
        for (std::int64_t i = 0; i < b.integer() && a.integer() != 1; ++i)
            result = detail::integer_result("*", result.integer(), a.integer() == 0 ? 0 : a.integer());
        return result;
    }
    const double x = a.real(), y = b.real();
    if (name == "+") return x + y;
    if (name == "-") return x - y;
    if (name == "*") return x * y;
    if (name == "**") return std::pow(x, y);
    if (y == 0) throw Error("expected a divisor, got 0");
    if (name == "/") return x / y;
    if (are_integers) {
        if (b.integer() == -1) return name == "%" ? Value(0) : detail::integer_result("-", 0, a.integer());
        const std::int64_t quotient = a.integer() / b.integer(), rest = a.integer() % b.integer();
        const bool rounds_down = rest != 0 && (rest < 0) != (b.integer() < 0);
        return name == "%" ? Value(rounds_down ? rest + b.integer() : rest) : Value(quotient - rounds_down);
    }
    const double quotient = std::floor(x / y);
    return name == "%" ? Value(x - quotient * y) : Value(quotient);
}

/// Python's methods of strings; nothing for a name that is none.
inline std::optional<Value> call_text_method(const std::string& text, std::string_view name,
                                             const Arguments& arguments) {
    const auto text_at = [&](std::size_t i) -> std::string {
        const Value value = arguments.get(i, {});
        return value.is_none() ? std::string() : text_of(value);
    };
    const auto number_at = [&](std::size_t i, std::string_view key, std::int64_t preset) {
        return integer_of(arguments.get(i, key, preset));
    };
    const auto any_of_first = [&](const auto& holds) {
        const Value given = arguments.get(0, {});
        if (!given.list()) return holds(text_of(given));
        return std::any_of(given.list()->begin(), given.list()->end(),
                           [&](const Value& one) { return holds(text_of(one)); });
    };
    const auto all_are = [&](const auto& holds) {
        return !text.empty() && std::all_of(text.begin(), text.end(), holds);
    };
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    const auto is_letter = [](char c) { return to_lower(c) >= 'a' && to_lower(c) <= 'z'; };
    if (name == "strip") return stripped(text, text_at(0));
    if (name == "lstrip") return stripped(text, text_at(0), true, false);
    if (name == "rstrip") return stripped(text, text_at(0), false, true);
    if (name == "upper") return upper(text);
    if (name == "lower") return lower(text);
    if (name == "capitalize") return capitalized(text);
    if (name == "title") return titled(text);
    if (name == "startswith")
        return any_of_first([&](const std::string& one) { return text.starts_with(one); });
    if (name == "endswith") return any_of_first([&](const std::string& one) { return text.ends_with(one); });
    if (name == "split" || name == "rsplit") {
        const Value separator = arguments.get(0, "sep");
        const std::string by = separator.is_none() ? std::string() : text_of(separator);
        if (!separator.is_none() && by.empty()) throw Error("expected a separator, got an empty string");
        const std::int64_t most = number_at(1, "maxsplit", -1);
        return name == "split" ? split(text, by, most) : split_from_end(text, by, most);
    }
    if (name == "splitlines") return lines(text);
    if (name == "replace") return replaced(text, text_at(0), text_at(1), number_at(2, "count", -1));
    if (name == "format") return formatted(text, arguments);
    if (name == "removeprefix") return text.starts_with(text_at(0)) ? text.substr(text_at(0).size()) : text;
    if (name == "removesuffix")
        return text.ends_with(text_at(0)) ? text.substr(0, text.size() - text_at(0).size()) : text;
    if (name == "find" || name == "rfind") {
        const std::string wanted = text_at(0);
        const std::size_t at = name == "find" ? text.find(wanted) : text.rfind(wanted);
        if (at == std::string::npos) return -1;
        return characters(std::string_view(text).substr(0, at)).size();
    }
    if (name == "count") {
        const std::string wanted = text_at(0);
        std::int64_t count = wanted.empty() ? length_of(text) + 1 : 0;
        for (std::size_t at = 0; !wanted.empty() && (at = text.find(wanted, at)) != std::string::npos;
             at += wanted.size())
            ++count;
        return count;
    }
    if (name == "join") {
        const List parts = elements_of(arguments.get(0, {}));
        std::string joined;
        for (std::size_t i = 0; i < parts.size(); ++i) {
            joined += (i > 0 ? text : "") + text_of(parts[i]);
            require_size(joined.size());
        }
        return joined;
    }
    if (name == "isdigit" || name == "isnumeric" || name == "isdecimal") return all_are(is_digit);
    if (name == "isalpha") return all_are(is_letter);
    if (name == "isalnum") return all_are([&](char c) { return is_digit(c) || is_letter(c); });
    if (name == "isspace") return all_are([](char c) { return white_space.find(c) != white_space.npos; });
    if (name == "isupper") return text != lower(text) && text == upper(text);
    if (name == "islower") return text != upper(text) && text == lower(text);
    return std::nullopt;
}

/// Python's methods of dictionaries that change nothing.
inline std::optional<Value> call_map_method(const Map& map, std::string_view name,
                                            const Arguments& arguments) {
    List list;
    if (name == "items" || name == "keys" || name == "values") {
        for (const auto& [key, value] : map.members())
            list.push_back(name == "items" ? Value(List{key, value}) : name == "keys" ? Value(key) : value);
        return list;
    }
    if (name == "get") {
        const Value* member = map.find(to_text(arguments.get(0, "key")));
        return member ? *member : arguments.get(1, "default");
    }
    if (name == "copy") return map;
    return std::nullopt;
}

inline std::optional<Value> call_list_method(const List& list, std::string_view name,
                                             const Arguments& arguments) {
    if (name == "count") return std::count(list.begin(), list.end(), arguments.get(0, {}));
    if (name == "index") {
        const auto found = std::find(list.begin(), list.end(), arguments.get(0, {}));
        if (found == list.end())
            throw Error("expected an element of the list, got " + to_text(arguments.get(0, {})));
        return found - list.begin();
    }
    if (name == "copy") return list;
    return std::nullopt;
}

/// The method of a value, as a function to be called; nothing if it has none of this name.
inline std::optional<Value> method_of(const Value& value, std::string_view name) {
    constexpr std::string_view of_text[] = {
        "strip",        "lstrip",       "rstrip",  "upper",   "lower",      "capitalize", "title",
        "startswith",   "endswith",     "split",   "rsplit",  "splitlines", "replace",    "format",
        "removeprefix", "removesuffix", "find",    "rfind",   "count",      "join",       "isdigit",
        "isnumeric",    "isdecimal",    "isalpha", "isalnum", "isspace",    "isupper",    "islower"};
    constexpr std::string_view of_map[] = {"items", "keys", "values", "get", "copy"};
    constexpr std::string_view of_list[] = {"count", "index", "copy"};
    const auto knows = [&](const auto& names) {
        return std::find(std::begin(names), std::end(names), name) != std::end(names);
    };
    const std::string own(name);
    const auto bound = [&](auto call) {
        return Value(std::make_shared<const Function>(Function{std::move(call)}), value);
    };
    if (value.is_text() && knows(of_text))
        return bound([value, own](const Arguments& a) { return *call_text_method(*value.text(), own, a); });
    if (value.is<Value::MapPointer>() && knows(of_map))
        return bound([value, own](const Arguments& a) { return *call_map_method(*value.map(), own, a); });
    if (value.list() && knows(of_list))
        return bound([value, own](const Arguments& a) { return *call_list_method(*value.list(), own, a); });
    return std::nullopt;
}

/// `value.name`: a method, or a member.
inline Value attribute_of(const Value& value, const std::string& name) {
    if (value.is_undefined())
        throw Error("expected a value before \"." + name + "\", got the undefined \"" +
                    value.as<Value::Undefined>()->name + "\"");
    if (std::optional<Value> method = method_of(value, name)) return *method;
    if (const Map* map = value.map())
        if (const Value* member = map->find(name)) return *member;
    return Value::Undefined{name};
}

}  // namespace tenon::jinja
