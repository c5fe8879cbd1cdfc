#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"

namespace tenon {

/// The character map of SentencePiece's files (`precompiled_charsmap`): texts and what replaces them. It is a
/// double array (Aoe 1989; the units of Darts-clone) and, behind it, the replacements, each ended by a NUL.
class CharacterMap {
public:
    /// Replaces nothing.
    CharacterMap() = default;

    /// Takes the bytes of the file. Throws Error if they are no such map.
    explicit CharacterMap(std::string bytes) : bytes_(std::move(bytes)) {
        if (bytes_.empty()) return;
        const std::uint64_t size = bytes_.size() < 4 ? 0 : word_at(0);
        if (size == 0 || size % 4 != 0 || size + 4 > bytes_.size()) {
            throw Error("expected a character map that begins with the size of its double array, got " +
                        std::to_string(bytes_.size()) + " bytes of something else");
        }
        for (std::uint64_t at = 4; at < size + 4; at += 4) units_.push_back(word_at(at));
        replacements_ = static_cast<std::size_t>(size) + 4;
    }

    const std::string& bytes() const { return bytes_; }
    bool is_empty() const { return units_.empty(); }

    struct Match {
        std::size_t size = 0;  ///< bytes of the text; 0 if the map has nothing that it begins with
        std::string_view replacement;
    };

    /// The longest text of the map that `text` begins with.
    Match longest(std::string_view text) const { return find(text, false); }
    /// The shortest.
    Match shortest(std::string_view text) const { return find(text, true); }

private:
    std::uint32_t word_at(std::uint64_t at) const {
        std::uint32_t word = 0;
        for (std::size_t i = 4; i-- > 0;) word = word << 8 | static_cast<unsigned char>(bytes_[at + i]);
        return word;
    }

    static std::uint32_t offset_of(std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }

    Match find(std::string_view text, bool is_shortest) const {
        Match match;
        if (units_.empty()) return match;
        std::size_t node = offset_of(units_[0]);
        for (std::size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
            node ^= static_cast<unsigned char>(text[i]);
            if (node >= units_.size()) break;
            const std::uint32_t unit = units_[node];
            if ((unit & 0x800000FF) != static_cast<unsigned char>(text[i])) break;
            node ^= offset_of(unit);
            if (node >= units_.size()) break;
            if ((unit & 0x100) == 0) continue;
            match = {i + 1, replacement_at(units_[node] & 0x7FFFFFFF)};
            if (is_shortest) break;
        }
        return match;
    }

    std::string_view replacement_at(std::size_t offset) const {
        const std::string_view all = std::string_view(bytes_).substr(replacements_);
        const std::string_view rest = all.substr(offset < all.size() ? offset : all.size());
        return rest.substr(0, rest.find('\0'));
    }

    std::string bytes_;
    std::vector<std::uint32_t> units_;
    std::size_t replacements_ = 0;  // where they begin
};

}  // namespace tenon
