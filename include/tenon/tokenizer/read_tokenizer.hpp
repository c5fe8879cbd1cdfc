#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <sys/stat.h>

#include "tenon/core/error.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/mapped_file.hpp"
#include "tenon/tokenizer/gguf_tokenizer.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/sentence_piece_file.hpp"
#include "tenon/tokenizer/tiktoken_file.hpp"
#include "tenon/tokenizer/tokenizer.hpp"
#include "tenon/tokenizer/tokenizer_json.hpp"
#include "tenon/tokenizer/vocabulary_files.hpp"

namespace tenon {

namespace detail {

inline bool is_folder(const std::string& path) {
    struct stat status;
    return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// Whether a text's first line is a token in base 64, a space and a number.
inline bool looks_like_tiktoken(std::string_view text) {
    const std::string_view line = text.substr(0, std::min(text.find('\n'), std::size_t{4096}));
    const std::size_t space = line.find(' ');
    return space != std::string_view::npos && space > 0 && read_base64(line.substr(0, space)) &&
           line.find_first_not_of("0123456789\r", space + 1) == std::string_view::npos;
}

/// Whether a JSON text begins an object whose first value is a number, as a vocabulary does.
inline bool looks_like_vocabulary(std::string_view text) {
    const auto skip = [&](std::string_view characters) {
        text.remove_prefix(std::min(text.find_first_not_of(characters), text.size()));
    };
    skip("{ \t\r\n");
    for (bool is_within = text.starts_with('"'); is_within && text.size() > 1;) {
        text.remove_prefix(text[0] == '\\' ? std::min<std::size_t>(2, text.size()) : 1);
        is_within = !text.starts_with('"');
    }
    text.remove_prefix(std::min<std::size_t>(1, text.size()));
    skip(" \t\r\n:");
    return !text.empty() && text[0] >= '0' && text[0] <= '9';
}

}  // namespace detail

/// Reads a tokenizer from a file, of a kind that the file itself shows:
///
/// - Hugging Face's tokenizer.json;
/// - GPT-2's vocab.json or merges.txt, both of which lie in one folder;
/// - tiktoken's ranks, beside which `encoding.json` says pattern and special tokens (see TiktokenEncoding);
/// - a SentencePiece model;
/// - a GGUF file;
///
/// or from a folder that has tokenizer.json, tokenizer.model, or vocab.json and merges.txt: the first of these.
/// Throws FileError.
inline TokenizerParts read_tokenizer(const std::string& path) {
    if (detail::is_folder(path)) {
        for (const char* name : {"/tokenizer.json", "/tokenizer.model"}) {
            if (path_exists(path + name)) return read_tokenizer(path + name);
        }
        return read_gpt2_files(path);
    }
    const MappedFile file(path);
    const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    if (bytes.starts_with("GGUF")) return parse_gguf_tokenizer(bytes, path);
    const std::size_t first = std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size());
    if (bytes.substr(first, 1) == "{") {
        if (detail::looks_like_vocabulary(bytes.substr(first))) return read_gpt2_files(folder_of(path));
        return read_tokenizer_json(path);
    }
    if (bytes.starts_with("#version")) return read_gpt2_files(folder_of(path));
    if (detail::looks_like_tiktoken(bytes))
        return parse_tiktoken(bytes, path, read_tiktoken_encoding(folder_of(path) + "/encoding.json"));
    if (bytes.starts_with('\n')) return parse_sentence_piece(bytes, path);
    throw FileError(path + ": expected a tokenizer's file, got something else");
}

inline Tokenizer Tokenizer::load(const std::string& path) { return Tokenizer(read_tokenizer(path)); }

}  // namespace tenon
