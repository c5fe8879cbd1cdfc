#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>

#include "tenon/core/error.hpp"
#include "tenon/io/json_text.hpp"

namespace tenon {

/// What a JSON value is. A number is an integer if it is written as one and fits std::int64_t.
enum class JsonKind : std::uint8_t { null, boolean, integer, real, text, array, object };

constexpr std::string_view name_of(JsonKind kind) {
    constexpr std::string_view names[] = {"null",   "a boolean", "an integer", "a real",
                                          "a text", "an array",  "an object"};
    return names[static_cast<std::size_t>(kind)];
}

namespace detail {

/// One value. Values lie in the order of the text, so that a value's descendants follow it, up to `end`.
struct JsonNode {
    struct Range {
        std::uint32_t offset;
        std::uint32_t size;
    };

    Range key;
    union {
        bool boolean;
        std::int64_t integer;
        double real;
        Range text;
        std::uint64_t count;  // of an array's elements or an object's members
    };
    std::uint32_t end;
    JsonKind kind;
};

struct JsonTree {
    std::string where;
    std::vector<char> text;  // unescaped in place: keys and strings are ranges of it
    std::vector<JsonNode> nodes;
};

/// Receives the parser's events and appends nodes. Its functions' names are the parser's; what they return is
/// whether to go on.
class JsonBuilder {
public:
    explicit JsonBuilder(JsonTree& tree) : tree_(tree) {}

    /// Why parsing was stopped; empty if it was not.
    const std::string& problem() const { return problem_; }

    bool Null() {
        append(JsonKind::null);
        return true;
    }

    bool Bool(bool value) {
        append(JsonKind::boolean).boolean = value;
        return true;
    }

    /// Numbers come as text, already of JSON's grammar, and are rounded correctly here.
    bool RawNumber(const char* digits, std::uint32_t size, bool) {
        std::int64_t integer = 0;
        double real = 0;
        const char* end = digits + size;
        auto [integer_end, integer_error] = std::from_chars(digits, end, integer);
        if (integer_error == std::errc() && integer_end == end) {
            append(JsonKind::integer).integer = integer;
            return true;
        }
        if (std::from_chars(digits, end, real).ec != std::errc())
            return stop("a number that no double can hold");
        append(JsonKind::real).real = real;
        return true;
    }

    bool String(const char* text, std::uint32_t size, bool) {
        append(JsonKind::text).text = range(text, size);
        return is_utf8({text, size}) || stop("a string that is not UTF-8");
    }

    bool StartObject() { return open(JsonKind::object); }
    bool EndObject(std::uint32_t count) { return close(count); }
    bool StartArray() { return open(JsonKind::array); }
    bool EndArray(std::uint32_t count) { return close(count); }

    bool Key(const char* text, std::uint32_t size, bool) {
        key_ = range(text, size);
        return is_utf8({text, size}) || stop("a key that is not UTF-8");
    }

    // The parser also compiles calls to these, which it never makes once numbers are asked for as text.
    bool Int(int) { return false; }
    bool Uint(unsigned) { return false; }
    bool Int64(std::int64_t) { return false; }
    bool Uint64(std::uint64_t) { return false; }
    bool Double(double) { return false; }

private:
    static constexpr std::size_t maximum_depth = 256;

    bool stop(std::string problem) {
        problem_ = std::move(problem);
        return false;
    }

    JsonNode::Range range(const char* text, std::uint32_t size) const {
        return {static_cast<std::uint32_t>(text - tree_.text.data()), size};
    }

    JsonNode& append(JsonKind kind) {
        JsonNode& node = tree_.nodes.emplace_back();
        node.key = std::exchange(key_, {});
        node.kind = kind;
        node.end = static_cast<std::uint32_t>(tree_.nodes.size());
        return node;
    }

    bool open(JsonKind kind) {
        // The parser recurses, and so may its users.
        if (open_.size() == maximum_depth) return stop("nesting deeper than 256 levels");
        open_.push_back(static_cast<std::uint32_t>(tree_.nodes.size()));
        append(kind);
        return true;
    }

    bool close(std::uint32_t count) {
        JsonNode& node = tree_.nodes[open_.back()];
        node.count = count;
        node.end = static_cast<std::uint32_t>(tree_.nodes.size());
        open_.pop_back();
        return true;
    }

    JsonTree& tree_;
    JsonNode::Range key_{};
    std::vector<std::uint32_t> open_;
    std::string problem_;
};

}  // namespace detail

/// A value of a JsonDocument, which must outlive it. Cheap to copy. Every function that finds another kind
/// than it reads throws a FileError that names the file, the value's path and both kinds.
class Json {
public:
    class Iterator;
    struct Children;

    Json(const detail::JsonTree& tree, std::uint32_t index) : tree_(&tree), index_(index) {}

    JsonKind kind() const { return node().kind; }
    bool is(JsonKind kind) const { return this->kind() == kind; }
    bool is_number() const { return is(JsonKind::integer) || is(JsonKind::real); }

    bool boolean() const { return expect(JsonKind::boolean).boolean; }
    std::int64_t integer() const { return expect(JsonKind::integer).integer; }
    /// A number: integers are converted.
    double real() const {
        return is(JsonKind::integer) ? static_cast<double>(node().integer) : expect(JsonKind::real).real;
    }
    std::string_view text() const { return view(expect(JsonKind::text).text); }

    /// The key under which an object holds this value; empty for what an array holds.
    std::string_view key() const { return view(node().key); }
    /// The number of an array's elements or an object's members; 0 for other kinds.
    std::size_t size() const {
        return is(JsonKind::array) || is(JsonKind::object) ? static_cast<std::size_t>(node().count) : 0;
    }

    /// The elements of an array in order: `for (Json element : value.elements())`.
    Children elements() const;
    /// The members of an object in the order of the text, repeated keys included; each knows its key().
    Children members() const;

    /// The first member under `key`, by a search through all; nothing if this is no object or has none.
    std::optional<Json> find(std::string_view key) const;
    /// The first member under `key`. Throws if it is missing.
    Json at(std::string_view key) const;

    /// Where the value is: the file, and the keys and positions that lead to it, joined by dots.
    std::string where() const;

    /// Throws the FileError that says this value should have been something else.
    [[noreturn]] void fail(std::string_view expected) const {
        std::string got(name_of(kind()));
        if (is(JsonKind::text)) got += " \"" + std::string(text().substr(0, 60)) + "\"";
        if (is(JsonKind::integer)) got = std::to_string(node().integer);
        if (is(JsonKind::real)) got = std::to_string(node().real);
        throw FileError(where() + ": expected " + std::string(expected) + ", got " + got);
    }

private:
    const detail::JsonNode& node() const { return tree_->nodes[index_]; }
    std::string_view view(detail::JsonNode::Range range) const {
        return {tree_->text.data() + range.offset, range.size};
    }
    const detail::JsonNode& expect(JsonKind kind) const {
        if (!is(kind)) fail(name_of(kind));
        return node();
    }

    const detail::JsonTree* tree_;
    std::uint32_t index_;
};

/// Steps from child to child.
class Json::Iterator {
public:
    Iterator(const detail::JsonTree& tree, std::uint32_t index) : tree_(&tree), index_(index) {}
    Json operator*() const { return Json(*tree_, index_); }
    Iterator& operator++() {
        index_ = tree_->nodes[index_].end;
        return *this;
    }
    bool operator==(const Iterator& other) const { return index_ == other.index_; }

private:
    const detail::JsonTree* tree_;
    std::uint32_t index_;
};

struct Json::Children {
    Iterator first;
    Iterator last;
    Iterator begin() const { return first; }
    Iterator end() const { return last; }
};

inline Json::Children Json::elements() const {
    return {Iterator(*tree_, index_ + 1), Iterator(*tree_, expect(JsonKind::array).end)};
}

inline Json::Children Json::members() const {
    return {Iterator(*tree_, index_ + 1), Iterator(*tree_, expect(JsonKind::object).end)};
}

inline std::optional<Json> Json::find(std::string_view key) const {
    if (!is(JsonKind::object)) return std::nullopt;
    for (Json member : members()) {
        if (member.key() == key) return member;
    }
    return std::nullopt;
}

inline Json Json::at(std::string_view key) const {
    expect(JsonKind::object);
    std::optional<Json> member = find(key);
    if (!member) throw FileError(where() + ": expected a key \"" + std::string(key) + "\", got none");
    return *member;
}

inline std::string Json::where() const {
    std::string path = tree_->where + ": ";
    // Nodes know no parent, so the path is found again from the root: each step enters the child that holds
    // us.
    for (std::uint32_t at = 0; at != index_;) {
        bool in_array = tree_->nodes[at].kind == JsonKind::array;
        std::size_t position = 0;
        std::uint32_t child = at + 1;
        for (; tree_->nodes[child].end <= index_; ++position) child = tree_->nodes[child].end;
        if (at != 0) path += '.';
        path += in_array ? std::to_string(position) : std::string(view(tree_->nodes[child].key));
        at = child;
    }
    return index_ == 0 ? path + "the whole text" : path;
}

/// Owns a parsed text. Moving it keeps its values valid.
class JsonDocument {
public:
    explicit JsonDocument(std::unique_ptr<const detail::JsonTree> tree) : tree_(std::move(tree)) {}
    Json root() const { return Json(*tree_, 0); }

private:
    std::unique_ptr<const detail::JsonTree> tree_;
};

/// Parses a JSON text (RFC 8259, UTF-8) of at most 128 MiB, nested at most 256 deep. `where` names the text's
/// origin in messages. Throws FileError with the byte offset of what is wrong.
inline JsonDocument parse_json(std::string_view text, std::string where) {
    constexpr std::size_t maximum_size = std::size_t{1}
                                         << 27;  // the parser's exponents overflow on longer numbers
    if (text.size() > maximum_size) {
        throw FileError(where + ": expected a JSON text of at most " + std::to_string(maximum_size) +
                        " bytes, got " + std::to_string(text.size()));
    }
    auto tree = std::make_unique<detail::JsonTree>();
    tree->where = std::move(where);
    tree->text.reserve(text.size() + 1);
    tree->text.assign(text.begin(), text.end());
    tree->text.push_back('\0');  // the parser stops at the first NUL

    detail::JsonBuilder builder(*tree);
    rapidjson::InsituStringStream stream(tree->text.data());
    constexpr unsigned flags = rapidjson::kParseInsituFlag | rapidjson::kParseNumbersAsStringsFlag;
    rapidjson::ParseResult result = rapidjson::Reader().Parse<flags>(stream, builder);

    std::string problem = builder.problem();
    std::size_t offset = result.Offset();
    if (problem.empty() && result.IsError()) problem = rapidjson::GetParseError_En(result.Code());
    if (problem.empty() && stream.Tell() < text.size()) {
        problem = "a NUL byte";
        offset = stream.Tell();
    }
    if (!problem.empty()) {
        throw FileError(tree->where + ": expected JSON, got at byte " + std::to_string(offset) + ": " +
                        problem);
    }
    return JsonDocument(std::move(tree));
}

}  // namespace tenon
