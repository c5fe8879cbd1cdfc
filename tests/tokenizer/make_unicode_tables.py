"""Writes the tables of include/tenon/tokenizer: unicode_tables.hpp, case_folding_tables.hpp, script_tables.hpp,
normalization_tables.hpp, composition_tables.hpp and compatibility_tables.hpp.

usage: make_unicode_tables.py include/tenon/tokenizer
    (pip install unicodedata2==16.0.0 tiktoken==0.14.0 tokenizers==0.23.3 regex)

Categories, decompositions and combining classes come from the package unicodedata2. What else tokenizers do with a
character is asked of them, code point by code point, since their parts follow several versions of Unicode: the
regular expressions of both follow 16.0, and the script checks that; lowercase and numbers of Hugging Face tokenizers
17.0, its normalization 9.0, BERT's classes 8.0. Names of scripts come from the package regex.
"""
import itertools
import sys

import tiktoken
import unicodedata2 as unicodedata
from regex._regex_core import PROPERTIES
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
EVERY_CHARACTER = "".join(map(chr, CODE_POINTS))
CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn").split()
folder = sys.argv[1]


def rust_matches(pattern, text=EVERY_CHARACTER):
    """The characters that a pattern of one character matches in tiktoken."""
    encoding = tiktoken.Encoding("", pat_str=pattern, mergeable_ranks={bytes([i]): i for i in range(256)},
                                 special_tokens={})
    return set(map(ord, bytes(encoding.encode_ordinary(text)).decode()))


def oniguruma_matches(pattern, text=EVERY_CHARACTER):
    """The same in Hugging Face tokenizers."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return {ord(piece) for start in range(0, len(text), 4096)
            for piece, _ in split.pre_tokenize_str(text[start:start + 4096]) if len(piece) == 1}


def normalized(normalizer):
    return {c: normalizer.normalize_str(chr(c)) for c in CODE_POINTS}


def cut_out(pre_tokenizer):
    """The code points that a pre-tokenizer separates from the letters around them."""
    return {c for c in CODE_POINTS if len(pre_tokenizer.pre_tokenize_str(f"a{chr(c)}b")) == 3}


def rows(values, width=108):
    lines, line = [], "   "
    for value in values:
        if len(line) + len(value) + 2 > width:
            lines.append(line)
            line = "   "
        line += f" {value},"
    return "\n".join([*lines, line])


LETTERS = [chr(c) for c in range(ord("#"), 0x7F) if chr(c) not in "?\\"]


def two_stages(kind_of, name, type, record):
    """Arrays of C++ that give the kind of every code point: kinds, blocks of 256 code points as text, a letter for
    each kind, and the number of each block."""
    kinds, blocks, block_of = {}, {}, []
    letters = [LETTERS[kinds.setdefault(kind_of(c), len(kinds))] for c in range(0x110000)]
    for start in range(0, 0x110000, 256):
        block_of.append(blocks.setdefault("".join(letters[start:start + 256]), len(blocks)))
    assert len(blocks) <= 256
    equal = [f"{{{block}, {len(list(group))}}}" for block, group in itertools.groupby(block_of)]
    by_letter = {LETTERS[number]: record(kind) for kind, number in kinds.items()}
    records = [by_letter.get(chr(c), record(None)) for c in range(ord("#"), ord(max(by_letter)) + 1)]
    halves = "\n".join(f'    "{block[half:half + 128]}"' for block in blocks for half in (0, 128))
    return f"""/// The kinds of code points, a letter for each from '#' on.
inline constexpr {type} {name}_kinds[] = {{
{rows(records)}}};

/// Of each 256 code points, the number of the block that holds the letters of their kinds; here with how many
/// blocks after each other are the same.
inline constexpr std::uint16_t {name}_equal_blocks[][2] = {{
{rows(equal)}}};
inline constexpr auto {name}_block_of = [] {{
    std::array<std::uint8_t, 0x110000 / 256> blocks{{}};
    std::size_t i = 0;
    for (const auto& [block, count] : {name}_equal_blocks) {{
        for (std::size_t end = i + count; i < end; ++i) blocks[i] = static_cast<std::uint8_t>(block);
    }}
    return blocks;
}}();

inline constexpr char {name}_blocks[] =
{halves};
"""


def runs(pairs, may_interlace):
    """Joins (code point, difference) where the difference stays and the steps are all 1 or all 2. A run may lie in
    another if they may interlace, but no third one in both."""
    joined, last_with = [], {}
    for c, difference in sorted(pairs):
        at = last_with.get(difference)
        if at is not None and at >= len(joined) - (2 if may_interlace else 1):
            first, last, step = joined[at][:3]
            if c - last == step or (first == last and c - last == 2):
                joined[at] = (first, c, c - last, difference)
                continue
        last_with[difference] = len(joined)
        joined.append((c, c, 1, difference))
    return [f"{{{first:#x}, {last:#x}, {step}, {difference}}}" for first, last, step, difference in joined]


def write(name, about, includes, body):
    with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
        file.write(f"""#pragma once

// Made by tests/tokenizer/make_unicode_tables.py; do not edit. {about}

{includes}
namespace tenon::detail {{

// clang-format off

{body}
// clang-format on

}}  // namespace tenon::detail
""")


category = [unicodedata.category(chr(c)) for c in range(0x110000)]
for name in {name[0] for name in CATEGORIES} | set(CATEGORIES) - {"Cs"}:
    expected = {c for c in CODE_POINTS if category[c].startswith(name)}
    assert rust_matches(rf"\p{{{name}}}") == expected and oniguruma_matches(rf"\p{{{name}}}") == expected, name
white_space = rust_matches(r"\s")
assert white_space == oniguruma_matches(r"\s") and len(white_space) == 25

# unicode_tables.hpp

bert = normalizers.BertNormalizer
cleaned = normalized(bert(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False))
unaccented = normalized(bert(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False))
stripped = normalized(normalizers.StripAccents())
lowered = normalized(normalizers.Lowercase())
flags = {"white_space": white_space,
         "hugging_face_number": cut_out(pre_tokenizers.Digits(True)),
         "hugging_face_accent": {c for c in CODE_POINTS if not stripped[c]},
         "bert_accent": {c for c in CODE_POINTS if not unaccented[c]},
         "bert_control": {c for c in CODE_POINTS if not cleaned[c]},
         "bert_punctuation": cut_out(pre_tokenizers.Punctuation())}
assert flags["bert_punctuation"] == cut_out(pre_tokenizers.BertPreTokenizer())
assert flags["bert_control"] >= {0, 0xFFFD}


def unicode_kind(c):
    return category[c], sum(1 << i for i, members in enumerate(flags.values()) if c in members)


lowercase = {c: lowered[c] for c in CODE_POINTS if lowered[c] != chr(c)}
assert lowercase.pop(0x130) == "i\u0307" and all(len(lower) == 1 for lower in lowercase.values())
names = [f"    {name} = {1 << i}," for i, name in enumerate(flags)]
write("unicode_tables.hpp", f"Unicode {unicodedata.unidata_version}.", "#include <array>\n#include <cstddef>\n#include <cstdint>\n", f"""/// What else tokenizers ask of a code point.
enum CodePointFlag : std::uint8_t {{
{chr(10).join(names)}
}};

/// A general category, as unicode.hpp numbers them, and flags.
struct UnicodeKind {{
    std::uint8_t category;
    std::uint8_t flags;
}};

{two_stages(unicode_kind, "unicode", "UnicodeKind",
            lambda kind: "{%d, %d}" % (CATEGORIES.index(kind[0]), kind[1]) if kind else "{0, 0}")}
/// Code points from `first` to `last`, in steps of one or two, and what is added to them.
struct CodePointRun {{
    char32_t first, last;
    std::uint8_t step;
    std::int32_t difference;
}};

/// To lowercase, but for U+0130, which becomes two code points.
inline constexpr CodePointRun lowercase_runs[] = {{
{rows(runs([(c, ord(lower) - c) for c, lower in lowercase.items()], may_interlace=False))}}};
""")

# case_folding_tables.hpp

cased = [c for c in CODE_POINTS if category[c] in ("Lu", "Ll", "Lt", "Lo", "Lm", "Mn", "Nl", "So")]
cased = [c for c in cased if category[c][0] == "L" and category[c] != "Lo" or chr(c).lower() != chr(c).upper()]
cased_text = "\n".join(map(chr, cased))
next_of = {}
for c in cased:
    alike = rust_matches(rf"(?i:\x{{{c:x}}})", cased_text)
    assert alike == oniguruma_matches(rf"(?i:\x{{{c:x}}})", cased_text), hex(c)
    if len(alike) > 1:
        next_of[c] = min((other for other in alike if other > c), default=min(alike))
write("case_folding_tables.hpp", "Unicode 16.0.", '#include "tenon/tokenizer/unicode_tables.hpp"\n', f"""/// To the next code point that is the same but for case, and from the last of them to the first.
inline constexpr CodePointRun case_runs[] = {{
{rows(runs([(c, other - c) for c, other in next_of.items()], may_interlace=True))}}};
""")

# script_tables.hpp

spellings = {}
for name, number in PROPERTIES["SCRIPT"][1].items():
    spellings.setdefault(number, []).append(name.lower())
scripts = {}
for names in spellings.values():
    try:
        scripts[tuple(sorted(set(names), key=len))] = rust_matches(rf"\p{{Script={names[0]}}}")
    except ValueError:
        pass  # newer than Unicode 16.0
for names, members in scripts.items():
    assert members == oniguruma_matches(rf"\p{{{names[-1]}}}"), names
script_of = {c: i + 1 for i, members in enumerate(scripts.values()) for c in members}
starts = [c for c in range(0x110001) if script_of.get(c, 0) != script_of.get(c - 1, 0)]
write("script_tables.hpp", "Unicode 16.0.", "#include <cstdint>\n#include <string_view>\n", f"""/// The names of the scripts, in small letters and without underscores, those of one script after each other.
struct ScriptName {{
    std::string_view name;
    std::uint8_t script;
}};
inline constexpr ScriptName script_names[] = {{
{rows([f'{{"{name}", {i + 1}}}' for i, names in enumerate(scripts) for name in names])}}};

/// Where the script changes: the code point, times 256, and its script, or 0 where it has none.
inline constexpr std::uint32_t script_starts[] = {{
{rows([f"{c << 8 | script_of.get(c, 0):#x}" for c in starts])}}};
""")

# normalization_tables.hpp, compatibility_tables.hpp: Unicode 9.0, which is 16.0 without what is younger.

HANGUL = range(0xAC00, 0xAC00 + 11172)
nfc, nfd, nfkc, nfkd = (normalized(normalizer()) for normalizer in
                        (normalizers.NFC, normalizers.NFD, normalizers.NFKC, normalizers.NFKD))
canonical = [c for c in CODE_POINTS if nfd[c] != chr(c) and c not in HANGUL]
compatible = [c for c in CODE_POINTS if nfkd[c] != nfd[c] and c not in HANGUL]
for decomposed, form in (canonical, "NFD"), (compatible, "NFKD"):
    for c in decomposed:
        assert (nfd if form == "NFD" else nfkd)[c] == unicodedata.normalize(form, chr(c)), hex(c)
pairs = {}
for c in canonical:
    if nfc[c] == chr(c):
        first, second = (int(part, 16) for part in unicodedata.decomposition(chr(c)).split())
        pairs[first, second] = c
seconds = {second for _, second in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))


def combining_class(c):
    """Of a mark that the peer knows: it puts marks of different classes in order."""
    number = unicodedata.combining(chr(c))
    marks = chr(c) + "\u0334" if number > 1 else "\u0301" + chr(c)
    is_known = number and normalizers.NFD().normalize_str(marks) != marks
    assert bool(is_known) == bool(number and c in flags["hugging_face_accent"]), hex(c)
    return number if is_known else 0


canonical_set, compatible_set = set(canonical), set(compatible)


def normalization_kind(c):
    return (0xD800 <= c <= 0xDFFF and (0, 0)) or (combining_class(c), (
        (c in canonical_set or c in HANGUL) + 2 * (c in compatible_set) + 4 * (c in seconds) +
        8 * (c in canonical_set and nfc[c] != chr(c))))


def mapping(name, about, members, form):
    first_of = [c for i, c in enumerate(members) if i == 0 or members[i - 1] != c - 1]
    index = {c: i for i, c in enumerate(members)}
    sizes = "".join(chr(ord("@") + len(form[c])) for c in members)
    sizes = "\n".join(f'    "{sizes[i:i + 104]}"' for i in range(0, len(sizes), 104))
    return f"""/// The code points that have a {about} decomposition, as runs: the first of each, and its number among all.
inline constexpr DecompositionRun {name}_runs[] = {{
{rows([f"{{{c:#x}, {index[c]}}}" for c in first_of])}}};

/// How long each decomposition is: '@' and that many letters on.
inline constexpr char {name}_sizes[] =
{sizes};

/// The decompositions after each other, as far as they go.
inline constexpr char32_t {name}_parts[] = {{
{rows([str(ord(part)) for c in members for part in form[c]])}}};
"""


write("normalization_tables.hpp", "Unicode 9.0.", "#include <array>\n#include <cstddef>\n#include <cstdint>\n", f"""/// What normalization asks of a code point.
enum NormalizationFlag : std::uint8_t {{
    has_canonical_decomposition = 1,
    has_compatibility_decomposition = 2,
    composes_with_previous = 4,
    never_composed = 8,
}};

struct NormalizationKind {{
    std::uint8_t combining_class;
    std::uint8_t flags;
}};

{two_stages(normalization_kind, "normalization", "NormalizationKind",
            lambda kind: "{%d, %d}" % (kind or (0, 0)))}
struct DecompositionRun {{
    char32_t first;
    std::uint16_t number;
}};

{mapping("canonical", "canonical", canonical, nfd)}
""")
firsts = [(first, i) for i, (first, _) in enumerate(sorted(pairs)) if i == 0 or sorted(pairs)[i - 1][0] != first]
write("composition_tables.hpp", "Unicode 9.0.", "#include <cstdint>\n", f"""/// The code points that compose with one that follows, in order, and the number of their first composition.
struct CompositionFirst {{
    char32_t first;
    std::uint16_t number;
}};
inline constexpr CompositionFirst composition_firsts[] = {{
{rows([f"{{{first}, {number}}}" for first, number in firsts])}}};

/// What follows, in order for each first, and what the two compose to.
struct Composition {{
    char32_t second, composed;
}};
inline constexpr Composition compositions[] = {{
{rows([f"{{{second}, {composed}}}" for (_, second), composed in sorted(pairs.items())])}}};
""")
write("compatibility_tables.hpp", "Unicode 9.0.", '#include "tenon/tokenizer/normalization_tables.hpp"\n',
      mapping("compatibility", "compatibility", compatible, nfkd))
