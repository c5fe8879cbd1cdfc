#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tenon/core/error.hpp"

namespace tenon::detail {

/// One field of a message.
struct ProtobufField {
    std::uint32_t number = 0;
    std::uint64_t value = 0;      // of a whole number, or the bits of a float or double
    std::string_view bytes = {};  // of a text or a message

    float real() const { return std::bit_cast<float>(static_cast<std::uint32_t>(value)); }
    bool flag() const { return value != 0; }
};

/// Reads the fields of a message in the wire format of protocol buffers, one after the other.
class ProtobufReader {
public:
    explicit ProtobufReader(std::string_view message) : rest_(message) {}

    /// Reads the next field. Returns false at the end. Throws Error for what is no message.
    bool next(ProtobufField& field) {
        if (rest_.empty()) return false;
        const std::uint64_t key = number();
        field = {static_cast<std::uint32_t>(key >> 3), 0, {}};
        if (key >> 3 == 0 || key >> 3 >= std::uint64_t{1} << 29) fail("the number of a field");
        switch (key & 7) {
            case 0:
                field.value = number();
                return true;
            case 1:
                field.value = fixed(8);
                return true;
            case 5:
                field.value = fixed(4);
                return true;
            case 2:
                field.bytes = take(number());
                return true;
            default:
                fail("a field of a known kind");
        }
    }

private:
    [[noreturn]] static void fail(const std::string& expected) {
        throw Error("expected a message of protocol buffers, with " + expected + ", got other bytes");
    }

    std::string_view take(std::uint64_t size) {
        if (size > rest_.size()) fail("fields that end within it");
        const std::string_view bytes = rest_.substr(0, static_cast<std::size_t>(size));
        rest_.remove_prefix(bytes.size());
        return bytes;
    }

    std::uint64_t fixed(std::size_t size) {
        std::uint64_t value = 0;
        const std::string_view bytes = take(size);
        for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
        return value;
    }

    std::uint64_t number() {
        std::uint64_t value = 0;
        for (int shift = 0; shift < 70; shift += 7) {
            const auto byte = static_cast<unsigned char>(take(1)[0]);
            value |= shift < 64 ? std::uint64_t{byte & 0x7Fu} << shift : 0;
            if (byte < 0x80) return value;
        }
        fail("numbers of at most ten bytes");
    }

    std::string_view rest_;
};

}  // namespace tenon::detail
