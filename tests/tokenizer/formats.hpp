#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "../gguf_file.hpp"
#include "../io/temporary_folder.hpp"
#include "tenon/core/error.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/read_tokenizer.hpp"
#include "tenon/tokenizer/tokenizer.hpp"

/// What tests of tokenizer files share: small files, made here.
namespace tokenizer_tests {

using Ids = std::vector<tenon::TokenId>;

/// `"!": 33, ...`: the members of a vocabulary of all bytes, each with its value as id.
inline std::string byte_members() {
    std::string members;
    for (int byte = 0; byte < 256; ++byte) {
        const char character = static_cast<char>(byte);
        const std::string written = tenon::detail::written_bytes({&character, 1});
        if (byte > 0) members += ", ";
        members += written == "\"" || written == "\\" ? "\"\\" + written + "\"" : "\"" + written + "\"";
        members += ": " + std::to_string(byte);
    }
    return members;
}

/// <0x00> to <0xFF>: the tokens that stand for bytes of characters that a vocabulary lacks.
inline std::vector<std::string> byte_tokens() {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte)
        tokens.push_back(tenon::detail::byte_token(static_cast<std::uint8_t>(byte)));
    return tokens;
}

/// The tokenizer of a file that holds these bytes, whatever it is called.
inline tenon::Tokenizer load(std::string_view bytes, const std::string& name = "file") {
    const TemporaryFolder folder;
    tenon::write_file(folder / name, bytes);
    return tenon::Tokenizer::load(folder / name);
}

/// The message of the FileError that loading these bytes throws, without the folder's name; empty if it
/// throws none.
inline std::string load_message(std::string_view bytes) {
    const TemporaryFolder folder;
    tenon::write_file(folder / "file", bytes);
    try {
        tenon::Tokenizer::load(folder / "file");
    } catch (const tenon::FileError& error) {
        const std::string message = error.what();
        REQUIRE(message.starts_with(folder.path() + "/"));
        return message.substr(folder.path().size() + 1);
    }
    return "";
}

/// The message of the Error that `action` throws; empty if it throws none.
template <class Action>
std::string error_of(Action&& action) {
    try {
        action();
    } catch (const tenon::Error& error) {
        return error.what();
    }
    return "";
}

/// A GGUF file whose keys are the tokenizer's.
inline tenon::support::GgufFile gguf_file() { return tenon::support::GgufFile("tokenizer.ggml."); }

/// Writes a message of protocol buffers.
class Message {
public:
    Message& number(std::uint32_t field, std::uint64_t value) {
        append_varint(std::uint64_t{field} << 3);
        append_varint(value);
        return *this;
    }
    Message& text(std::uint32_t field, std::string_view value) {
        append_varint(std::uint64_t{field} << 3 | 2);
        append_varint(value.size());
        bytes_ += value;
        return *this;
    }
    Message& message(std::uint32_t field, const Message& value) { return text(field, value.bytes_); }
    Message& real(std::uint32_t field, float value) {
        append_varint(std::uint64_t{field} << 3 | 5);
        tenon::support::append_number(bytes_, value);
        return *this;
    }
    const std::string& bytes() const { return bytes_; }

private:
    void append_varint(std::uint64_t value) {
        for (; value > 127; value >>= 7) bytes_ += static_cast<char>(value | 128);
        bytes_ += static_cast<char>(value);
    }

    std::string bytes_;
};

}  // namespace tokenizer_tests
