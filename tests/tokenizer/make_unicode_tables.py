"""Prints include/tenon/tokenizer/unicode_tables.hpp: the class of every code point, two bits each.

usage: make_unicode_tables.py > include/tenon/tokenizer/unicode_tables.hpp
The classes come from the package unicodedata2 (pip install unicodedata2==16.0.0), else from Python's own
unicodedata; the header names the Unicode version. Only White_Space is listed here: Python does not expose it, and
it has been the same since Unicode 6.3.
"""
try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

OTHER, LETTER, NUMBER, WHITESPACE = range(4)
BLOCK = 128
white_space = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
               0x205F, 0x3000}


def class_of(code_point):
    if code_point in white_space:
        return WHITESPACE
    return {"L": LETTER, "N": NUMBER}.get(unicodedata.category(chr(code_point))[0], OTHER)


def rows(values, a_row):
    return ",\n".join("    " + ", ".join(values[i:i + a_row]) for i in range(0, len(values), a_row))


classes = [class_of(code_point) for code_point in range(0x110000)]
end = (max(c for c in range(0x110000) if classes[c] != OTHER) // BLOCK + 1) * BLOCK
blocks, block_of = {}, []
for start in range(0, end, BLOCK):
    block_of.append(blocks.setdefault(tuple(classes[start:start + BLOCK]), len(blocks)))
assert len(blocks) <= 256

words = []
for block in blocks:
    for start in range(0, BLOCK, 32):
        words.append(f"{sum(kind << 2 * i for i, kind in enumerate(block[start:start + 32])):#x}")

print(f"""#pragma once

// Made by tests/tokenizer/make_unicode_tables.py from Unicode {unicodedata.unidata_version}; do not edit.

#include <cstdint>

namespace tenon::detail {{

// clang-format off

/// Code points from here on are letters, numbers or whitespace in no case.
inline constexpr char32_t unicode_table_end = {end:#x};

/// Of each {BLOCK} code points, the number of the block that holds their classes.
inline constexpr std::uint8_t unicode_block_of[] = {{
{rows([str(b) for b in block_of], 28)}}};

/// {BLOCK} classes a block, two bits each, the lowest bits first: 0 other, 1 letter, 2 number, 3 whitespace.
inline constexpr std::uint64_t unicode_blocks[][{BLOCK // 32}] = {{
{rows(["{" + ", ".join(words[i:i + 4]) + "}" for i in range(0, len(words), 4)], 1)}}};

// clang-format on

}}  // namespace tenon::detail""")
