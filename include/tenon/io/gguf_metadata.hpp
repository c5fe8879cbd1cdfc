#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"

namespace tenon {

/// What a value in a GGUF file's metadata is, by the format's numbers.
enum class GgufValueType : std::uint32_t {
    u8,
    i8,
    u16,
    i16,
    u32,
    i32,
    f32,
    boolean,
    text,
    list,
    u64,
    i64,
    f64
};

namespace detail {

/// The bytes of a number of that type; 0 for a text or list.
constexpr std::size_t gguf_size_of(GgufValueType type) {
    constexpr std::uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return sizes[static_cast<std::size_t>(type)];
}

/// Reads a file's bytes from front to back, and none that it does not have.
class GgufCursor {
public:
    explicit GgufCursor(std::string_view file) : file_(file) {}

    std::size_t position() const { return position_; }
    std::size_t rest() const { return file_.size() - position_; }
    /// What is read, in messages: a key, or a tensor's name.
    void set_item(std::string_view item) { item_ = item; }

    std::string_view take(std::uint64_t size) {
        require_elements(size, 1);
        const std::string_view bytes = file_.substr(position_, static_cast<std::size_t>(size));
        position_ += bytes.size();
        return bytes;
    }

    template <class T>
    T number() {
        static_assert(std::endian::native == std::endian::little, "expected numbers as the file has them");
        T value;
        std::memcpy(&value, take(sizeof value).data(), sizeof value);
        return value;
    }

    std::string_view text() { return take(number<std::uint64_t>()); }

    /// Throws Error unless the file has room for what it says that it holds here.
    void require_elements(std::uint64_t count, std::size_t least_bytes_of_each) const {
        if (count <= rest() / least_bytes_of_each) return;
        const std::string each =
            least_bytes_of_each == 1 ? "" : " of at least " + std::to_string(least_bytes_of_each);
        fail(std::to_string(count) + (each.empty() ? " bytes" : " elements" + each + " bytes"),
             std::to_string(rest()) + " bytes: the file is cut off");
    }

    [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
        const std::string item(item_.substr(0, 200));
        throw Error("byte " + std::to_string(position_) + ": " + (item.empty() ? "" : item + ": ") +
                    "expected " + expected + ", got " + got);
    }

private:
    std::string_view file_, item_;
    std::size_t position_ = 0;
};

}  // namespace detail

/// A value in a GGUF file's metadata, which lies in the file's bytes.
struct GgufValue {
    std::string_view key;
    GgufValueType type;  ///< of a list's elements; never `list`
    bool is_list;
    std::uint64_t count;     ///< a list's elements; 1 for another value
    std::string_view bytes;  ///< of all elements

    bool is_text() const { return type == GgufValueType::text; }
    bool is_real() const { return type == GgufValueType::f32 || type == GgufValueType::f64; }

    /// Integers, and flags as 0 and 1; none if the value is another.
    std::vector<std::int64_t> integers() const {
        std::vector<std::int64_t> result;
        if (!is_text() && !is_real())
            for_each_number([&](auto number) { result.push_back(static_cast<std::int64_t>(number)); });
        return result;
    }

    /// Reals; none if the value is another.
    std::vector<double> reals() const {
        std::vector<double> result;
        if (is_real()) for_each_number([&](auto number) { result.push_back(static_cast<double>(number)); });
        return result;
    }

    /// Texts; none if the value is another.
    std::vector<std::string_view> texts() const {
        std::vector<std::string_view> result;
        if (!is_text()) return result;
        for (detail::GgufCursor cursor(bytes); cursor.rest() > 0;) result.push_back(cursor.text());
        return result;
    }

private:
    template <class F>
    void for_each_number(F&& f) const {
        const auto each = [&]<class T>(std::type_identity<T>) {
            for (detail::GgufCursor cursor(bytes); cursor.rest() > 0;) f(cursor.number<T>());
        };
        switch (type) {
            case GgufValueType::u8:
            case GgufValueType::boolean:
                return each(std::type_identity<std::uint8_t>());
            case GgufValueType::i8:
                return each(std::type_identity<std::int8_t>());
            case GgufValueType::u16:
                return each(std::type_identity<std::uint16_t>());
            case GgufValueType::i16:
                return each(std::type_identity<std::int16_t>());
            case GgufValueType::u32:
                return each(std::type_identity<std::uint32_t>());
            case GgufValueType::i32:
                return each(std::type_identity<std::int32_t>());
            case GgufValueType::u64:
                return each(std::type_identity<std::uint64_t>());
            case GgufValueType::i64:
                return each(std::type_identity<std::int64_t>());
            case GgufValueType::f32:
                return each(std::type_identity<float>());
            case GgufValueType::f64:
                return each(std::type_identity<double>());
            case GgufValueType::text:
            case GgufValueType::list:
                return;
        }
    }
};

/// The header and the metadata of a GGUF file of version 2 or 3, little-endian
/// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). The file's bytes must outlive it.
class GgufMetadata {
public:
    /// Reads as many bytes as the metadata take. Throws Error, with the place, for what is no GGUF file.
    explicit GgufMetadata(std::string_view file) {
        detail::GgufCursor cursor(file);
        if (!file.starts_with("GGUF")) cursor.fail("a file that begins with GGUF", "another");
        cursor.take(4);
        const std::size_t version_position = cursor.position();
        const auto version = cursor.number<std::uint32_t>();
        if (version != 2 && version != 3)
            throw Error("byte " + std::to_string(version_position) +
                        ": expected a GGUF file of version 2 or 3, little-endian, got version " +
                        std::to_string(version));
        tensor_count_ = cursor.number<std::uint64_t>();
        auto count = cursor.number<std::uint64_t>();
        cursor.require_elements(count, least_bytes_of_value);
        for (; count > 0; --count) values_.push_back(read_value(cursor));
        size_ = cursor.position();
        std::sort(values_.begin(), values_.end(),
                  [](const GgufValue& a, const GgufValue& b) { return a.key < b.key; });
        const auto repeated =
            std::adjacent_find(values_.begin(), values_.end(),
                               [](const GgufValue& a, const GgufValue& b) { return a.key == b.key; });
        if (repeated != values_.end())
            throw Error("expected one value of the key " + std::string(repeated->key.substr(0, 200)) +
                        ", got several");
    }

    /// In the order of their keys.
    const std::vector<GgufValue>& values() const { return values_; }

    /// The value of a key, or nullptr.
    const GgufValue* find(std::string_view key) const {
        const auto position =
            std::lower_bound(values_.begin(), values_.end(), key,
                             [](const GgufValue& value, std::string_view k) { return value.key < k; });
        return position != values_.end() && position->key == key ? &*position : nullptr;
    }

    /// How many tensors the header says that the file has.
    std::uint64_t tensor_count() const { return tensor_count_; }
    /// The bytes of header and metadata: where the table of tensors begins.
    std::size_t size() const { return size_; }

private:
    /// A key without characters, its type, and a flag.
    static constexpr std::size_t least_bytes_of_value = 8 + 4 + 1;
    static constexpr std::size_t longest_key = 65535;

    static GgufValueType read_type(detail::GgufCursor& cursor, GgufValueType last) {
        const auto number = cursor.number<std::uint32_t>();
        // A list of lists is none that any writer makes.
        if (number <= static_cast<std::uint32_t>(GgufValueType::f64) &&
            (number != static_cast<std::uint32_t>(GgufValueType::list) || last == GgufValueType::list))
            return static_cast<GgufValueType>(number);
        cursor.fail("a value of a known type", "one of type " + std::to_string(number));
    }

    static GgufValue read_value(detail::GgufCursor& cursor) {
        cursor.set_item("a key");
        GgufValue value{.key = cursor.text(), .type = {}, .is_list = false, .count = 1, .bytes = {}};
        cursor.set_item(value.key);
        if (value.key.size() > longest_key)
            cursor.fail("a key of at most 65535 bytes", std::to_string(value.key.size()));
        value.type = read_type(cursor, GgufValueType::list);
        if (value.type == GgufValueType::list) {
            value.is_list = true;
            value.type = read_type(cursor, GgufValueType::f64);
            value.count = cursor.number<std::uint64_t>();
        }
        if (const std::size_t size = detail::gguf_size_of(value.type)) {
            cursor.require_elements(value.count, size);
            value.bytes = cursor.take(value.count * size);
        } else {
            cursor.require_elements(value.count, sizeof(std::uint64_t));
            detail::GgufCursor start = cursor;
            for (std::uint64_t i = 0; i < value.count; ++i) cursor.text();
            value.bytes = start.take(cursor.position() - start.position());
        }
        cursor.set_item({});
        return value;
    }

    std::vector<GgufValue> values_;
    std::uint64_t tensor_count_ = 0;
    std::size_t size_ = 0;
};

}  // namespace tenon
