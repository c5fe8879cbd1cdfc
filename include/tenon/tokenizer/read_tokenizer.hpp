#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "tenon/core/error.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/mapped_file.hpp"
#include "tenon/tokenizer/gguf_tokenizer.hpp"
#include "tenon/tokenizer/parts.hpp"
#include "tenon/tokenizer/sentence_piece_file.hpp"
#include "tenon/tokenizer/tekken_file.hpp"
#include "tenon/tokenizer/tiktoken_file.hpp"
#include "tenon/tokenizer/tokenizer.hpp"
#include "tenon/tokenizer/tokenizer_json.hpp"
#include "tenon/tokenizer/vocabulary_files.hpp"

namespace tenon {

namespace detail {

/// Whether a text's first line is a token in base 64, a space and a number.
inline bool looks_like_tiktoken(std::string_view text) {
    const std::string_view line = text.substr(0, std::min(text.find('\n'), std::size_t{4096}));
    const std::size_t space = line.find(' ');
    return space != std::string_view::npos && space > 0 && read_base64(line.substr(0, space)) &&
           line.find_first_not_of("0123456789\r", space + 1) == std::string_view::npos;
}

/// The first member of a JSON text's object: the key as it is written, and the first character of the value.
struct FirstMember {
    std::string_view key;
    char value = '\0';
};

inline FirstMember first_member(std::string_view text) {
    const auto skip = [&](std::string_view characters) {
        text.remove_prefix(std::min(text.find_first_not_of(characters), text.size()));
    };
    skip("{ \t\r\n");
    if (!text.starts_with('"')) return {};
    std::size_t end = 1;
    while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
    if (end >= text.size()) return {};
    FirstMember member{text.substr(1, end - 1)};
    text.remove_prefix(end + 1);
    skip(" \t\r\n:");
    if (!text.empty()) member.value = text[0];
    return member;
}

}  // namespace detail

/// Reads a tokenizer from a file, of a kind that the file itself shows:
///
/// - Hugging Face's tokenizer.json;
/// - GPT-2's vocab.json or merges.txt, both of which lie in one folder;
/// - tiktoken's ranks, beside which `encoding.json` says pattern and special tokens (see TiktokenEncoding);
/// - Mistral's tekken.json;
/// - a SentencePiece model;
/// - a GGUF file;
///
/// or from a folder that has tokenizer.json, tokenizer.model, or vocab.json and merges.txt: the first of
/// these. Throws FileError.
inline TokenizerParts read_tokenizer(const std::string& path) {
    if (is_folder(path)) {
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
        const detail::FirstMember member = detail::first_member(bytes.substr(first));
        // A vocabulary's values are numbers.
        if (member.value >= '0' && member.value <= '9') return read_gpt2_files(folder_of(path));
        if (member.key == "config") return parse_tekken(bytes, path);
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
