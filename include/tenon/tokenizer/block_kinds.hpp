#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "tenon/tokenizer/byte_block.hpp"
#include "tenon/tokenizer/character_kinds.hpp"

namespace tenon::detail {

/// What the first characters of a text are, a bit for each of their bytes: up to 64 bytes, or what comes
/// before the first number or whitespace beyond ASCII. A character is of one of the kinds `letters` to
/// `symbols`.
struct BlockKinds {
    std::size_t size;  // in bytes, of whole characters
    std::uint64_t letters, numbers, line_ends;
    std::uint64_t blanks;     // the rest of whitespace
    std::uint64_t symbols;    // what remains, all with the bit of a kind in no other set
    std::uint64_t continued;  // bytes that don't begin a character
    std::uint64_t spaces, apostrophes;
};

/// Adds the kinds of the characters beyond ASCII, one by one.
inline void add_beyond_ascii(BlockKinds& kinds, std::uint64_t beyond, const char* at, const char* end,
                             KindSet letters) {
    while (beyond != 0) {
        const auto first = static_cast<std::size_t>(std::countr_zero(beyond));
        const KnownCharacter character = character_beyond_ascii(at + first, end);
        if ((character.kind & (kinds::whitespace | kinds::number)) || first + character.size > 64) {
            kinds.size = first;
            return;
        }
        const std::uint64_t bytes = ((std::uint64_t{1} << character.size) - 1) << first;
        ((character.kind & letters) ? kinds.letters : kinds.symbols) |= bytes;
        kinds.continued |= bytes & (bytes - 1);
        beyond &= ~bytes;
    }
}

/// Adds the kinds of the characters of two and three bytes if there are no others, and all is UTF-8.
template <class Block>
bool add_two_and_three(BlockKinds& kinds, std::uint64_t beyond, const Block& block, const char* at,
                       KindSet letters) {
    const std::uint64_t continued = block.within(0x80, 0xBF);
    const std::uint64_t two = block.within(0xC2, 0xDF), three = block.within(0xE0, 0xEF);
    // These have a first byte in common with what would be too long, and with surrogates.
    const std::uint64_t low = block.within(0xE0, 0xE0) << 1 & block.within(0x80, 0x9F);
    const std::uint64_t surrogates = block.within(0xED, 0xED) << 1 & block.within(0xA0, 0xBF);
    if ((two | three | continued) != beyond || continued != ((two | three) << 1 | three << 2) ||
        (low | surrogates) != 0)
        return false;
    const std::uint64_t cut_off = (two & std::uint64_t{1} << 63) | (three & std::uint64_t{3} << 62);
    std::uint64_t are_letters = 0, are_others = cut_off;
    const auto add = [&](int first, char32_t code_point) {
        const KindSet kind = kind_of(code_point);
        are_letters |= std::uint64_t{(kind & letters) != 0} << first;
        are_others |= std::uint64_t{(kind & (kinds::whitespace | kinds::number)) != 0} << first;
    };
    const auto byte = [&](int i) { return static_cast<char32_t>(static_cast<unsigned char>(at[i])); };
    for (std::uint64_t rest = two & ~cut_off; rest != 0; rest &= rest - 1) {
        const int first = std::countr_zero(rest);
        add(first, (byte(first) & 0x1F) << 6 | (byte(first + 1) & 0x3F));
    }
    for (std::uint64_t rest = three & ~cut_off; rest != 0; rest &= rest - 1) {
        const int first = std::countr_zero(rest);
        add(first, (byte(first) & 0x0F) << 12 | (byte(first + 1) & 0x3F) << 6 | (byte(first + 2) & 0x3F));
    }
    if (are_others != 0) kinds.size = static_cast<std::size_t>(std::countr_zero(are_others));
    are_letters |= are_letters << 1 | (are_letters & three) << 2;
    kinds.letters |= are_letters;
    kinds.symbols |= beyond & ~are_letters;
    kinds.continued = continued;
    return true;
}

/// The kinds of at least 64 bytes of text; `letters` are what counts as letters beyond ASCII.
template <class Block = ByteBlock>
BlockKinds kinds_of_block(const char* at, const char* end, KindSet letters) {
    const Block block(at);
    BlockKinds kinds{};
    kinds.size = Block::size;
    kinds.letters = block.letters();
    kinds.numbers = block.within('0', '9');
    kinds.line_ends = block.within('\n', '\n') | block.within('\r', '\r');
    kinds.spaces = block.within(' ', ' ');
    kinds.blanks = (block.within('\t', '\r') & ~kinds.line_ends) | kinds.spaces;
    kinds.apostrophes = block.within('\'', '\'');
    const std::uint64_t beyond = block.beyond_ascii();
    kinds.symbols = ~(kinds.letters | kinds.numbers | kinds.line_ends | kinds.blanks | beyond);
    if (beyond != 0 && !add_two_and_three(kinds, beyond, block, at, letters))
        add_beyond_ascii(kinds, beyond, at, end, letters);
    return kinds;
}

/// Of runs of bits, those that begin at a bit of `begins`, whole.
constexpr std::uint64_t runs_from(std::uint64_t begins, std::uint64_t runs) {
    return runs & ~(runs + (begins & runs));
}

}  // namespace tenon::detail
