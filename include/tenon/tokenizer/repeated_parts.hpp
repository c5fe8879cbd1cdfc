#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tenon/tokenizer/unicode.hpp"
#include "tenon/tokenizer/word_counts.hpp"

namespace tenon::detail {

/// A part of words, and how often it comes times its length in characters. The text lies with the words.
struct RepeatedPart {
    std::string_view text;
    double weight;
};

/// All characters of the words, and of the longer parts that come twice or more and that no longer part
/// always goes on from, those of the greatest weight, up to `maximum_count` and `maximum_length` characters.
/// Found as the nodes of the words' suffix tree, from their sorted suffixes (Abouelhoda et al. 2004,
/// "Replacing suffix trees with enhanced suffix arrays"). Bytes that are no UTF-8 end a part.
inline std::vector<RepeatedPart> repeated_parts(const WordCounts& words, std::size_t maximum_length,
                                                std::size_t maximum_count) {
    struct Suffix {
        const char* text;
        std::uint32_t size;  // up to the end of the word, or of what may be a part
        std::uint32_t word;
    };
    std::vector<Suffix> suffixes;
    std::vector<std::size_t> ends;
    for (std::uint32_t index = 0; index < words.size(); ++index) {
        const std::string_view word = words.word(index);
        // The ends of characters; a byte that is none has its begin for one.
        ends.clear();
        for (std::size_t at = 0; at < word.size();) {
            const Utf8Character character = decode_utf8_character(word.substr(at));
            const bool is_valid = character.code_point != Utf8Character::invalid;
            ends.push_back(is_valid ? at + character.size : at);
            at += character.size;
        }
        std::size_t begin = 0;
        for (std::size_t i = 0; i < ends.size(); ++i) {
            std::size_t last = i;
            while (last + 1 < ends.size() && last + 1 < i + maximum_length && ends[last] > begin &&
                   ends[last + 1] > ends[last])
                ++last;
            if (ends[i] > begin) {
                suffixes.push_back(
                    {word.data() + begin, static_cast<std::uint32_t>(ends[last] - begin), index});
                begin = ends[i];
            } else {
                begin += decode_utf8_character(word.substr(begin)).size;
            }
        }
    }
    const auto view = [](const Suffix& suffix) { return std::string_view(suffix.text, suffix.size); };
    std::sort(suffixes.begin(), suffixes.end(), [&](const Suffix& a, const Suffix& b) {
        const int order = view(a).compare(view(b));
        return order != 0 ? order < 0 : a.word < b.word;
    });

    struct Node {
        std::uint32_t size;
        double count;
    };
    std::vector<Node> open;  // each one a prefix of the next
    std::vector<RepeatedPart> characters, parts;
    const auto close = [&](const Node& node, const char* text) {
        const std::string_view part(text, node.size);
        const std::size_t length =
            static_cast<std::size_t>(std::count_if(part.begin(), part.end(), [](char byte) {
                return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
            }));
        if (length > 1 && node.count > 1) parts.push_back({part, node.count * static_cast<double>(length)});
    };
    const auto close_to = [&](std::uint32_t size, const char* text) {
        double count = 0;
        while (!open.empty() && open.back().size > size) {
            open.back().count += count;
            count = open.back().count;
            close(open.back(), text);
            open.pop_back();
        }
        if (size == 0) return;
        if (!open.empty() && open.back().size == size)
            open.back().count += count;
        else
            open.push_back({size, count});
    };
    for (std::size_t i = 0; i < suffixes.size(); ++i) {
        const std::string_view suffix = view(suffixes[i]);
        const auto count = static_cast<double>(words.count(suffixes[i].word));
        const std::string_view character = suffix.substr(0, decode_utf8_character(suffix).size);
        if (characters.empty() || characters.back().text != character) characters.push_back({character, 0});
        characters.back().weight += count;
        std::uint32_t common = 0;
        if (i > 0) {
            const std::string_view before = view(suffixes[i - 1]);
            common = static_cast<std::uint32_t>(
                std::mismatch(before.begin(), before.end(), suffix.begin(), suffix.end()).first -
                before.begin());
            // Only whole characters are common.
            while (common > 0 && common < suffix.size() &&
                   (static_cast<unsigned char>(suffix[common]) & 0xC0) == 0x80)
                --common;
            close_to(common, before.data());
        }
        if (!open.empty() && open.back().size == suffix.size())
            open.back().count += count;
        else
            open.push_back({suffixes[i].size, count});
    }
    if (!suffixes.empty()) close_to(0, suffixes.back().text);

    const auto is_before = [](const RepeatedPart& a, const RepeatedPart& b) {
        return a.weight != b.weight ? a.weight > b.weight : a.text < b.text;
    };
    if (parts.size() > maximum_count) {
        std::nth_element(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(maximum_count),
                         parts.end(), is_before);
        parts.resize(maximum_count);
    }
    std::sort(parts.begin(), parts.end(), is_before);
    parts.insert(parts.begin(), characters.begin(), characters.end());
    return parts;
}

}  // namespace tenon::detail
