#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include "arguments.hpp"
#include "tenon/tokenizer.hpp"
#include "tokenize_files.hpp"

/// Text that a line of a terminal can show: what is no printable character is escaped.
inline std::string printable(std::string_view text) {
    std::string shown;
    char escape[8];
    while (!text.empty()) {
        const tenon::Utf8Character character = tenon::decode_utf8_character(text);
        const bool is_invalid = character.code_point == tenon::Utf8Character::invalid;
        if (is_invalid || character.code_point < 0x20 ||
            (character.code_point >= 0x7F && character.code_point < 0xA0)) {
            const std::string_view names = "\tt\nn\rr";
            const std::size_t name = names.find(text[0]);
            if (name != std::string_view::npos && name % 2 == 0) {
                shown += {'\\', names[name + 1]};
            } else {
                for (const char byte : text.substr(0, character.size)) {
                    std::snprintf(escape, sizeof escape, "\\x%02x",
                                  static_cast<unsigned>(static_cast<unsigned char>(byte)));
                    shown += escape;
                }
            }
        } else {
            shown += text.substr(0, character.size);
        }
        text.remove_prefix(character.size);
    }
    return shown;
}

/// What a token stands for: its bytes, or its text where the others decide about those.
inline std::string shown_token(const tenon::Tokenizer& tokenizer, tenon::TokenId id) {
    return printable(tokenizer.decodes_bytes() ? tokenizer.token_bytes(id) : tokenizer.token_text(id));
}

inline const char* model_name(const tenon::TokenizerModel& model) {
    if (model.has_byte_units()) return "byte-level byte pairs";
    if (model.get_if<tenon::BytePair>()) return "byte pairs of characters";
    if (model.get_if<tenon::SentencePieceBpe>()) return "SentencePiece byte pairs";
    if (model.get_if<tenon::WordPiece>()) return "WordPiece";
    if (model.get_if<tenon::Unigram>()) return "unigram";
    return "words";
}

/// Prints what a vocabulary is.
inline void describe(const tenon::Tokenizer& tokenizer) {
    std::size_t count = 0, bytes = 0;
    std::vector<tenon::TokenId> ids;
    for (tenon::TokenId id = 0; id < tokenizer.vocabulary_size(); ++id) {
        if (!tokenizer.has_token(id)) continue;
        ++count;
        bytes += tokenizer.token_bytes(id).size();
        if (!tokenizer.is_special(id)) ids.push_back(id);
    }
    std::printf("%s, %zu tokens, %.2f bytes each\n", model_name(tokenizer.model()), count,
                count == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(count));
    if (const auto* byte_pair = tokenizer.model().get_if<tenon::BytePair>())
        std::printf("merges: %zu\n", byte_pair->merges().size());
    std::printf("special tokens:");
    int shown = 0;
    for (const tenon::AddedToken& token : tokenizer.added_tokens()) {
        if (!token.special) continue;
        if (++shown <= 8) std::printf(" %s = %u", printable(token.content).c_str(), token.id);
    }
    std::printf(shown == 0 ? " none\n" : shown > 8 ? " and %d more\n" : "\n", shown - 8);
    const std::size_t longest = std::min<std::size_t>(ids.size(), 5);
    const auto is_longer = [&](tenon::TokenId a, tenon::TokenId b) {
        const std::size_t size_a = tokenizer.token_bytes(a).size(), size_b = tokenizer.token_bytes(b).size();
        return size_a != size_b ? size_a > size_b : a < b;
    };
    std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(longest), ids.end(), is_longer);
    std::printf("longest tokens:");
    for (std::size_t i = 0; i < longest; ++i) {
        const std::string token = tokenizer.token_bytes(ids[i]);
        std::printf(" \"%s\"%s (%zu)", printable(token.substr(0, 24)).c_str(), token.size() > 24 ? "..." : "",
                    token.size());
    }
    std::printf("\n");
}

/// Prints the tokens of a text: each in another colour than the one before, or with bars between.
inline void show_pieces(const tenon::Tokenizer& tokenizer, const std::string& text, bool has_colour) {
    constexpr const char* colours[] = {"\x1b[30;46m", "\x1b[30;43m", "\x1b[30;42m", "\x1b[30;45m"};
    const std::vector<tenon::TokenId> ids = tokenizer.encode_ids(text);
    std::string line, numbers;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (has_colour) line += colours[i % 4];
        if (!has_colour && i > 0) line += '|';
        line += shown_token(tokenizer, ids[i]);
        if (has_colour) line += "\x1b[0m";
        numbers += (i > 0 ? " " : "") + std::to_string(ids[i]);
    }
    std::printf("%s\n%s\n%zu tokens, %zu bytes, %.2f bytes a token\n", line.c_str(), numbers.c_str(),
                ids.size(), text.size(),
                ids.empty() ? 0 : static_cast<double>(text.size()) / static_cast<double>(ids.size()));
}

inline void inspect(int count, char** values, const char* usage) {
    const Arguments arguments(count, values, usage,
                              {{"--tokenizer", "PATH", "a tokenizer's file or folder"},
                               {"--colour", "WHEN", "of the pieces: auto, always or never (auto)"},
                               {"--list", "", "prints every token: its id and what it stands for"}});
    const std::vector<std::string>& sentences = arguments.positional();
    const std::string colour = arguments.one_of("--colour", {"auto", "always", "never"});
    const auto tokenizer = tenon::Tokenizer::load(arguments.text("--tokenizer"));
    describe(tokenizer);
    if (arguments.has("--list")) {
        for (tenon::TokenId id = 0; id < tokenizer.vocabulary_size(); ++id)
            if (tokenizer.has_token(id)) std::printf("%u\t%s\n", id, shown_token(tokenizer, id).c_str());
    }
    const bool has_colour = colour == "always" || (colour == "auto" && ::isatty(STDOUT_FILENO) == 1);
    for (const std::string& sentence : sentences) {
        std::printf("\n");
        show_pieces(tokenizer, sentence, has_colour);
    }
}

/// Encodes the same text with several tokenizers, each on one thread.
inline void compare(int count, char** values, const char* usage) {
    const Arguments arguments(count, values, usage,
                              {{"--tokenizer", "PATH", "one of them; comes several times"}});
    const std::vector<std::string> paths = arguments.all("--tokenizer");
    if (paths.size() < 2) arguments.fail("expected two or more --tokenizer PATH");
    const std::vector<std::string>& texts = arguments.positional(1);
    std::size_t width = 9;
    for (const std::string& path : paths) width = std::max(width, path.size());
    std::printf("%-*s  vocabulary      tokens  bytes/token  MB/s\n", static_cast<int>(width), "tokenizer");
    for (const std::string& path : paths) {
        const auto tokenizer = tenon::Tokenizer::load(path);
        tenon::StreamEncoder encoder(tokenizer, {.add_special_tokens = false});
        std::int64_t tokens = 0, bytes = 0;
        std::chrono::duration<double> seconds{0};
        const auto count_token = [&](tenon::TokenId) { ++tokens; };
        const auto timed = [&](auto&& work) {
            const auto start = std::chrono::steady_clock::now();
            work();
            seconds += std::chrono::steady_clock::now() - start;
        };
        Input(texts, path)
            .read(
                [&](std::string_view part) {
                    bytes += static_cast<std::int64_t>(part.size());
                    timed([&] { encoder.push(part, count_token); });
                },
                [&] { timed([&] { encoder.finish(count_token); }); });
        std::printf("%-*s  %10zu  %10lld  %11.3f  %4.1f\n", static_cast<int>(width), path.c_str(),
                    tokenizer.vocabulary_size(), static_cast<long long>(tokens),
                    tokens == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(tokens),
                    static_cast<double>(bytes) * 1e-6 / seconds.count());
    }
}
