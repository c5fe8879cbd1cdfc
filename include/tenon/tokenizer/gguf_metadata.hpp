#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"

namespace tenon::detail {

/// What the metadata of a GGUF file (version 2 or 3, little-endian) says under keys that begin with a prefix.
/// Texts lie in the file's bytes.
class GgufMetadata {
public:
    /// A value, of the kinds that tokenizers have. One that is no list is a list of one.
    struct Value {
        std::string_view key;
        std::vector<std::int64_t> integers = {};  // flags among them
        std::vector<float> reals = {};
        std::vector<std::string_view> texts = {};
    };

    /// Throws Error for what is no GGUF file.
    GgufMetadata(std::string_view file, std::string_view prefix) : rest_(file) {
        if (!file.starts_with("GGUF")) throw Error("expected a file that begins with GGUF, got another");
        take(4);
        const auto version = number<std::uint32_t>();
        if (version != 2 && version != 3)
            throw Error("expected a GGUF file of version 2 or 3, got " + std::to_string(version));
        number<std::uint64_t>();  // of tensors
        for (auto count = number<std::uint64_t>(); count > 0; --count) {
            Value value{text()};
            const auto type = number<std::uint32_t>();
            const bool is_list = type == array;
            const auto element_type = is_list ? number<std::uint32_t>() : type;
            read(element_type, is_list ? number<std::uint64_t>() : 1, value);
            if (value.key.starts_with(prefix)) values_.push_back(std::move(value));
        }
    }

    /// The value under a key, if it is there.
    const Value* find(std::string_view key) const {
        for (const Value& value : values_) {
            if (value.key == key) return &value;
        }
        return nullptr;
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
            case boolean:
                return number<std::uint8_t>();
            case i8:
                return number<std::int8_t>();
            case u16:
                return number<std::uint16_t>();
            case i16:
                return number<std::int16_t>();
            case u32:
                return number<std::uint32_t>();
            case i32:
                return number<std::int32_t>();
            case u64:
                return static_cast<std::int64_t>(number<std::uint64_t>());
            case i64:
                return number<std::int64_t>();
            default:
                throw Error("expected a value of a known type, got one of type " + std::to_string(type));
        }
    }

    void read(std::uint32_t type, std::uint64_t count, Value& value) {
        // Each element has a byte at least, so that no number asks for more memory than the file explains.
        if (count > rest_.size()) throw Error("expected a whole GGUF file, got one that is cut off");
        if (type == string) {
            while (count-- > 0) value.texts.push_back(text());
        } else if (type == f32 || type == f64) {
            while (count-- > 0)
                value.reals.push_back(type == f32 ? number<float>() : static_cast<float>(number<double>()));
        } else {
            while (count-- > 0) value.integers.push_back(integer(type));
        }
    }

    std::string_view rest_;
    std::vector<Value> values_;
};

}  // namespace tenon::detail
