#pragma once

#include <span>
#include <string>

#include <tenon/core/error.hpp>
#include <tenon/io/gguf.hpp>
#include <tenon/io/read_configuration.hpp>
#include <tenon/model/architectures.hpp>

#include "gguf_file.hpp"

namespace tenon::support {

inline Gguf parsed(const std::string& bytes) {
    return Gguf::parse(std::as_bytes(std::span(bytes)), "f.gguf");
}

/// The architecture of a file's model. Throws FileError.
inline Architecture architecture_of(const GgufFile& file) {
    return require_architecture(OwnedConfiguration(parsed(file.bytes())).table());
}

/// What is said against a file's model; nothing if it is supported.
inline std::string refusal_of(const GgufFile& file) {
    try {
        architecture_of(file);
    } catch (const FileError& error) {
        return error.what();
    }
    return "";
}

}  // namespace tenon::support
