#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tenon/core/error.hpp"

namespace tenon::detail {

/// What the metadata of a GGUF file (version 2 or 3, little-endian) says under keys that begin with a prefix.
/// Texts lie in the file's bytes.
class GgufMetadata {
public:
    /// A value, of the kinds that tokenizers have: whole numbers and flags, floats, texts, and lists of them.
    using Value = std::variant<std::int64_t, double, std::string_view, std::vector<std::int64_t>, std::vector<float>,
                               std::vector<std::string_view>>;

    /// Throws Error for what is no GGUF file.
    GgufMetadata(std::string_view file, std::string_view prefix) : rest_(file) {
        if (!file.starts_with("GGUF")) throw Error("expected a file that begins with GGUF, got another");
        take(4);
        const auto version = number<std::uint32_t>();
        if (version != 2 && version != 3)
            throw Error("expected a GGUF file of version 2 or 3, got " + std::to_string(version));
        number<std::uint64_t>();  // of tensors
        for (auto count = number<std::uint64_t>(); count > 0; --count) {
            const std::string key(text());
            Value value = read(number<std::uint32_t>());
            if (!key.starts_with(prefix)) continue;
            if (!values_.emplace(key, std::move(value)).second) throw Error("expected each key once, got " + key + " twice");
        }
    }

    /// The value under a key, if it is there. Throws Error if it is of another kind.
    template <class T>
    const T* find(const std::string& key) const {
        const auto found = values_.find(key);
        if (found == values_.end()) return nullptr;
        if (const T* value = std::get_if<T>(&found->second)) return value;
        throw Error(key + ": expected a value of another kind");
    }

    template <class T>
    const T& at(const std::string& key) const {
        const T* value = find<T>(key);
        if (!value) throw Error("expected the key " + key + ", got none");
        return *value;
    }

private:
    enum Type : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

    std::string_view take(std::uint64_t size) {
        if (size > rest_.size()) throw Error("expected a whole GGUF file, got one that is cut off");
        const std::string_view bytes = rest_.substr(0, static_cast<std::size_t>(size));
        rest_.remove_prefix(bytes.size());
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

    std::int64_t integer(std::uint32_t type) {
        switch (type) {
            case u8:
            case boolean: return number<std::uint8_t>();
            case i8: return number<std::int8_t>();
            case u16: return number<std::uint16_t>();
            case i16: return number<std::int16_t>();
            case u32: return number<std::uint32_t>();
            case i32: return number<std::int32_t>();
            case u64: return static_cast<std::int64_t>(number<std::uint64_t>());
            case i64: return number<std::int64_t>();
            default: throw Error("expected a value of a known type, got one of type " + std::to_string(type));
        }
    }

    Value read(std::uint32_t type) {
        if (type == f32) return static_cast<double>(number<float>());
        if (type == f64) return number<double>();
        if (type == string) return text();
        return type == array ? read_list() : Value(integer(type));
    }

    Value read_list() {
        const auto type = number<std::uint32_t>();
        const auto count = number<std::uint64_t>();
        // Each element has a byte at least, so that no number asks for more memory than the file explains.
        if (count > rest_.size()) throw Error("expected a whole GGUF file, got one that is cut off");
        if (type == string) {
            std::vector<std::string_view> texts;
            for (std::uint64_t i = 0; i < count; ++i) texts.push_back(text());
            return texts;
        }
        if (type == f32) {
            std::vector<float> reals;
            for (std::uint64_t i = 0; i < count; ++i) reals.push_back(number<float>());
            return reals;
        }
        if (type == f64 || type == array) throw Error("expected lists of whole numbers, floats or texts, got others");
        std::vector<std::int64_t> integers;
        for (std::uint64_t i = 0; i < count; ++i) integers.push_back(integer(type));
        return integers;
    }

    std::string_view rest_;
    std::map<std::string, Value> values_;
};

}  // namespace tenon::detail
