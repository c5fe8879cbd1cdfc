#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/jinja/functions.hpp"

namespace tenon::jinja {

std::optional<bool> apply_test(std::string_view name, const Value& value, const Arguments& arguments);
std::optional<Value> apply_filter(std::string_view name, const Value& value, const Arguments& arguments);

namespace detail {

/// The value under a path of names and positions with dots between: "function.name".
inline Value at_path(Value value, const Value& path) {
    if (!path.is_text()) return item_of(value, path);
    for (const Value& part : split(*path.text(), ".")) {
        const std::string& name = *part.text();
        const bool is_number = !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
        value = is_number && name.size() < 10 ? item_of(value, std::stoi(name)) : item_of(value, name);
    }
    return value;
}

inline Arguments without(const Arguments& arguments, std::size_t count) {
    Arguments rest = arguments;
    rest.values.erase(rest.values.begin(),
                      rest.values.begin() + static_cast<std::ptrdiff_t>(std::min(count, rest.values.size())));
    return rest;
}

/// Whether a test that the arguments name, or the value's own truth, holds.
inline bool passes(const Value& value, const Arguments& arguments) {
    if (arguments.size() == 0) return value.is_true();
    const std::string& name = text_of(arguments.values[0], "a test's name");
    const std::optional<bool> passed = apply_test(name, value, without(arguments, 1));
    if (!passed) throw Error("expected a test that is known, got \"" + name + "\"");
    return *passed;
}

/// What values are ordered and compared by: themselves or a member, texts without their case on request.
inline Value key_of(const Value& value, const Value& path, bool minds_case) {
    Value key = path.is_none() ? value : at_path(value, path);
    return key.is_text() && !minds_case ? Value(lower(*key.text())) : key;
}

inline Value sorted(List list, const Value& path, bool minds_case, bool reversed) {
    std::stable_sort(list.begin(), list.end(), [&](const Value& a, const Value& b) {
        const int order = order_of(key_of(a, path, minds_case), key_of(b, path, minds_case));
        return reversed ? order > 0 : order < 0;
    });
    return list;
}

inline std::string escaped(std::string_view text) {
    std::string result;
    for (const char c : text) {
        switch (c) {
            case '&':
                result += "&amp;";
                break;
            case '<':
                result += "&lt;";
                break;
            case '>':
                result += "&gt;";
                break;
            case '\'':
                result += "&#39;";
                break;
            case '"':
                result += "&#34;";
                break;
            default:
                result += c;
        }
    }
    return result;
}

inline std::string indented(const std::string& text, const Arguments& arguments) {
    const Value width = arguments.get(0, "width", 4);
    const std::string margin =
        width.is_text()
            ? *width.text()
            : std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(integer_of(width), 0, 1000)),
                          ' ');
    const bool first = arguments.get(1, "first", false).is_true(),
               blank = arguments.get(2, "blank", false).is_true();
    std::string result = first ? margin : "";
    const List all = split(text, "\n");
    for (std::size_t i = 0; i < all.size(); ++i) {
        const std::string& line = *all[i].text();
        if (i > 0) result += "\n" + (line.empty() && !blank ? std::string() : margin);
        result += line;
        require_size(result.size());
    }
    return result;
}

inline Value rounded(const Value& value, const Arguments& arguments) {
    const double scale = std::pow(10.0, static_cast<double>(integer_of(arguments.get(0, "precision", 0))));
    const std::string method = text_of(arguments.get(1, "method", "common"));
    const double scaled = value.real() * scale;
    const double whole = method == "ceil"    ? std::ceil(scaled)
                         : method == "floor" ? std::floor(scaled)
                                             : std::nearbyint(scaled);
    return whole / scale;
}

inline Value to_number(const Value& value, const Arguments& arguments, bool is_real) {
    const Value preset = arguments.get(0, "default", is_real ? Value(0.0) : Value(0));
    if (value.is_number()) {
        if (is_real) return value.real();
        const double real = std::trunc(value.real());
        return value.is_integer()       ? value
               : std::fabs(real) < 9e18 ? Value(static_cast<std::int64_t>(real))
                                        : preset;
    }
    if (!value.is_text()) return preset;
    const std::string_view text = stripped(*value.text());
    const char *first = text.data(), *last = first + text.size();
    first += text.starts_with('+');
    std::int64_t integer = 0;
    double real = 0;
    if (!is_real) {
        const auto read = std::from_chars(first, last, integer);
        if (read.ec == std::errc() && read.ptr == last) return integer;
    }
    const auto read = std::from_chars(first, last, real);
    if (first == last || read.ec != std::errc() || read.ptr != last) return preset;
    if (is_real) return real;
    return std::fabs(real) < 9e18 ? Value(static_cast<std::int64_t>(real)) : preset;
}

inline Value json_of(const Value& value, const Arguments& arguments) {
    JsonStyle style;
    if (const Value indent = arguments.get(1, "indent"); !indent.is_none()) {
        style.indent = static_cast<int>(std::clamp<std::int64_t>(integer_of(indent), 0, 1000));
        style.item_separator = ",";
    }
    style.is_ascii = arguments.get(0, "ensure_ascii", false).is_true();
    if (const Value separators = arguments.get(2, "separators");
        separators.list() && separators.list()->size() == 2) {
        style.item_separator = text_of((*separators.list())[0]);
        style.key_separator = text_of((*separators.list())[1]);
    }
    style.has_sorted_keys = arguments.get(3, "sort_keys", false).is_true();
    std::string text;
    append_json(text, value, style);
    return text;
}

/// select, reject, and both by a member of each element; map.
inline std::optional<Value> filter_elements(std::string_view name, const Value& value,
                                            const Arguments& arguments) {
    const bool by_member = name == "selectattr" || name == "rejectattr";
    const bool rejects = name == "reject" || name == "rejectattr";
    if (!value.is_true() && (by_member || name == "select" || name == "reject" || name == "map"))
        return List{};
    List kept;
    if (by_member || name == "select" || name == "reject") {
        if (by_member && arguments.size() == 0) throw Error("expected the name of a member, got none");
        for (const Value& one : elements_of(value)) {
            const bool passed = by_member ? passes(at_path(one, arguments.values[0]), without(arguments, 1))
                                          : passes(one, arguments);
            if (passed != rejects) kept.push_back(one);
        }
        return kept;
    }
    if (name != "map") return std::nullopt;
    const Value member = arguments.get(999, "attribute");
    for (const Value& one : elements_of(value)) {
        if (!member.is_none()) {
            Value found = at_path(one, member);
            kept.push_back(found.is_undefined() ? arguments.get(999, "default", found) : found);
            continue;
        }
        const std::string filter = text_of(arguments.get(0, {}), "a filter's name");
        std::optional<Value> mapped = apply_filter(filter, one, without(arguments, 1));
        if (!mapped) throw Error("expected a filter that is known, got \"" + filter + "\"");
        kept.push_back(*mapped);
    }
    return kept;
}

/// Filters of lists.
inline std::optional<Value> filter_list(std::string_view name, const Value& value,
                                        const Arguments& arguments) {
    const auto get_case = [&](std::size_t at) {
        return arguments.get(at, "case_sensitive", false).is_true();
    };
    if (name == "length" || name == "count") return length_of(value);
    if (name == "list") return elements_of(value);
    if (name == "first" || name == "last") {
        const List all = elements_of(value);
        if (all.empty()) return Value::Undefined{std::string(name)};
        return name == "first" ? all.front() : all.back();
    }
    if (name == "join") {
        const Value member = arguments.get(1, "attribute");
        const std::string separator = to_text(arguments.get(0, "d", ""));
        std::string joined;
        bool is_first = true;
        for (const Value& one : elements_of(value)) {
            if (!std::exchange(is_first, false)) joined += separator;
            append_value(joined, member.is_none() ? one : at_path(one, member));
            require_size(joined.size());
        }
        return joined;
    }
    if (name == "reverse") {
        List all = elements_of(value);
        std::reverse(all.begin(), all.end());
        if (!value.is_text()) return all;
        std::string text;
        for (const Value& character : all) text += *character.text();
        return text;
    }
    if (name == "sort")
        return sorted(elements_of(value), arguments.get(2, "attribute"), get_case(1),
                      arguments.get(0, "reverse", false).is_true());
    if (name == "unique") {
        List kept, keys;
        for (const Value& one : elements_of(value)) {
            const Value key = key_of(one, arguments.get(1, "attribute"), get_case(0));
            if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
            keys.push_back(key);
            kept.push_back(one);
        }
        return kept;
    }
    if (name == "min" || name == "max") {
        const List all = elements_of(value);
        if (all.empty()) return Value::Undefined{std::string(name)};
        const Value path = arguments.get(1, "attribute");
        const auto less = [&](const Value& a, const Value& b) {
            return order_of(key_of(a, path, get_case(0)), key_of(b, path, get_case(0))) < 0;
        };
        return name == "min" ? *std::min_element(all.begin(), all.end(), less)
                             : *std::max_element(all.begin(), all.end(), less);
    }
    if (name == "sum") {
        Value total = arguments.get(1, "start", 0);
        const Value member = arguments.get(0, "attribute");
        for (const Value& one : elements_of(value))
            total = arithmetic("+", total, member.is_none() ? one : at_path(one, member));
        return total;
    }
    if (name == "batch") {
        const std::int64_t size = integer_of(arguments.get(0, "linecount"));
        if (size < 1) throw Error("expected batches of at least one element, got " + std::to_string(size));
        List batches, batch;
        for (const Value& one : elements_of(value)) {
            batch.push_back(one);
            if (batch.size() == static_cast<std::size_t>(size))
                batches.emplace_back(std::exchange(batch, {}));
        }
        if (!batch.empty()) batches.emplace_back(std::move(batch));
        return batches;
    }
    if (name == "groupby") {
        const Value path = arguments.get(0, "attribute");
        List groups, group;
        const List all = elements_of(sorted(elements_of(value), path, get_case(2), false));
        for (std::size_t i = 0; i < all.size(); ++i) {
            group.push_back(all[i]);
            const bool ends = i + 1 == all.size() ||
                              !(key_of(all[i], path, get_case(2)) == key_of(all[i + 1], path, get_case(2)));
            if (!ends) continue;
            groups.emplace_back(Map{{"grouper", at_path(group[0], path)}, {"list", Value(group)}});
            group.clear();
        }
        return groups;
    }
    return std::nullopt;
}

/// Filters of texts.
inline std::optional<Value> filter_text(std::string_view name, const Value& value,
                                        const Arguments& arguments) {
    if (name == "string") return to_text(value);
    if (name == "upper") return upper(to_text(value));
    if (name == "lower") return lower(to_text(value));
    if (name == "capitalize") return capitalized(to_text(value));
    if (name == "title") return titled(to_text(value));
    if (name == "trim") {
        const Value set = arguments.get(0, "chars");
        return Value(
            std::string(stripped(to_text(value), set.is_none() ? std::string_view() : text_of(set))));
    }
    if (name == "replace")
        return replaced(to_text(value), text_of(arguments.get(0, "old")), text_of(arguments.get(1, "new")),
                        integer_of(arguments.get(2, "count", -1)));
    if (name == "format") return formatted(to_text(value), arguments.values);
    if (name == "indent") return indented(to_text(value), arguments);
    if (name == "escape" || name == "e" || name == "forceescape") return escaped(to_text(value));
    if (name == "safe") return value;
    if (name == "wordcount") return split(to_text(value), "").size();
    if (name == "center") {
        std::string text = to_text(value);
        const std::int64_t width = std::min<std::int64_t>(integer_of(arguments.get(0, "width", 80)), 10'000);
        const std::int64_t blanks = std::max<std::int64_t>(width - length_of(text), 0);
        const std::int64_t left = blanks / 2 + (blanks & width & 1);
        return std::string(static_cast<std::size_t>(left), ' ') + text +
               std::string(static_cast<std::size_t>(blanks - left), ' ');
    }
    return std::nullopt;
}

}  // namespace detail

/// The filters of Jinja that chat templates use; nothing for a name that is none of them.
inline std::optional<Value> apply_filter(std::string_view name, const Value& value,
                                         const Arguments& arguments) {
    if (name == "default" || name == "d") {
        const bool replaces =
            value.is_undefined() || (arguments.get(1, "boolean", false).is_true() && !value.is_true());
        return replaces ? arguments.get(0, "default_value", "") : value;
    }
    if (name == "tojson") return detail::json_of(value, arguments);
    if (name == "int") return detail::to_number(value, arguments, false);
    if (name == "float") return detail::to_number(value, arguments, true);
    if (name == "abs" && value.is_number())
        return value.is_integer() ? (value.integer() < 0 ? arithmetic("-", 0, value) : Value(value.integer()))
                                  : Value(std::fabs(value.real()));
    if (name == "round" && value.is_number()) return detail::rounded(value, arguments);
    if (name == "attr") return attribute_of(value, text_of(arguments.get(0, "name")));
    if (name == "items") {
        if (value.is_undefined()) return List{};
        if (!value.map()) throw Error("expected a mapping, got " + std::string(value.kind()));
        return call_map_method(*value.map(), "items", {});
    }
    if (name == "dictsort") {
        if (!value.map()) throw Error("expected a mapping, got " + std::string(value.kind()));
        const bool by_value = arguments.get(1, "by", "key") == Value("value");
        return detail::sorted(elements_of(*call_map_method(*value.map(), "items", {})), by_value ? 1 : 0,
                              arguments.get(0, "case_sensitive", false).is_true(),
                              arguments.get(2, "reverse", false).is_true());
    }
    if (std::optional<Value> result = detail::filter_text(name, value, arguments)) return result;
    if (std::optional<Value> result = detail::filter_elements(name, value, arguments)) return result;
    return detail::filter_list(name, value, arguments);
}

/// The tests of Jinja; nothing for a name that is none of them.
inline std::optional<bool> apply_test(std::string_view name, const Value& value, const Arguments& arguments) {
    const auto argument = [&] { return arguments.get(0, "other"); };
    if (name == "defined") return !value.is_undefined();
    if (name == "undefined") return value.is_undefined();
    if (name == "none") return value.is_none();
    if (name == "boolean") return value.is<bool>();
    if (name == "true") return value.is<bool>() && value.is_true();
    if (name == "false") return value.is<bool>() && !value.is_true();
    if (name == "string") return value.is_text();
    if (name == "number") return value.is_number();
    if (name == "integer") return value.is<std::int64_t>();
    if (name == "float") return value.is<double>();
    if (name == "mapping") return value.map() != nullptr;
    if (name == "iterable") return value.is_text() || value.list() || value.map() || value.is_undefined();
    if (name == "sequence") return value.is_text() || value.list() || value.map() || value.is_undefined();
    if (name == "callable") return value.is<Value::FunctionPointer>();
    if (name == "even") return integer_of(value) % 2 == 0;
    if (name == "odd") return integer_of(value) % 2 != 0;
    if (name == "divisibleby") return !arithmetic("%", value, argument()).is_true();
    if (name == "eq" || name == "equalto" || name == "==") return value == argument();
    if (name == "sameas") return value.kind() == argument().kind() && value == argument();
    if (name == "ne" || name == "!=") return !(value == argument());
    if (name == "lt" || name == "lessthan" || name == "<") return order_of(value, argument()) < 0;
    if (name == "le" || name == "<=") return order_of(value, argument()) <= 0;
    if (name == "gt" || name == "greaterthan" || name == ">") return order_of(value, argument()) > 0;
    if (name == "ge" || name == ">=") return order_of(value, argument()) >= 0;
    if (name == "in") return contains(argument(), value);
    if (name == "upper") return value.is_text() && upper(*value.text()) == *value.text();
    if (name == "lower") return value.is_text() && lower(*value.text()) == *value.text();
    return std::nullopt;
}

}  // namespace tenon::jinja
