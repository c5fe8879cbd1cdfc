#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/normalizer.hpp"
#include "tenon/tokenizer/pretokenize.hpp"
#include "tenon/tokenizer/text_pattern.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// What becomes of the parts that a pre-tokenizer looks for.
enum class SplitBehavior : std::uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// When Metaspace puts its character before a text that doesn't begin with it.
enum class PrependScheme : std::uint8_t { first, never, always };

/// What cuts text into pieces, which no token reaches over: the pre-tokenizers of tokenizer.json, with their
/// names and fields.
namespace pre_tokenizer {

struct ByteLevel {
    bool add_prefix_space = true;
    bool trim_offsets = true;  ///< of the post-processor of this name
    bool use_regex = true;
};

struct Split {
    TextPattern pattern;
    SplitBehavior behavior = SplitBehavior::isolated;
    bool invert = false;
};

struct BertPreTokenizer {};
struct Whitespace {};
struct WhitespaceSplit {};

struct Metaspace {
    std::string replacement = "\u2581";  ///< one character
    PrependScheme prepend_scheme = PrependScheme::always;
    bool split = true;
};

struct Punctuation {
    SplitBehavior behavior = SplitBehavior::isolated;
};

struct Digits {
    bool individual_digits = false;
};

struct CharDelimiterSplit {
    std::string delimiter;  ///< one character
};

struct FixedLength {
    std::size_t length = 5;  ///< in characters
};

using Step = std::variant<ByteLevel, Split, BertPreTokenizer, Whitespace, WhitespaceSplit, Metaspace, Punctuation,
                          Digits, CharDelimiterSplit, FixedLength>;

}  // namespace pre_tokenizer

/// The steps that cut text into pieces, in order.
using PreTokenizer = std::vector<pre_tokenizer::Step>;

namespace detail {

/// A text and the pieces that it is cut into, which follow each other; what lies between them is left out.
struct CutText {
    AlignedText text;
    std::vector<Span> pieces;
    std::vector<Span> old_pieces;

    void start() { pieces.assign(text.text().empty() ? 0 : 1, {0, text.text().size()}); }

    /// Cuts each piece by `cut(piece, add)`, which calls add(Span) with parts of the text. Empty ones are left
    /// out.
    template <class Cut>
    void cut(Cut&& cut) {
        std::swap(pieces, old_pieces);
        pieces.clear();
        for (const Span piece : old_pieces) {
            cut(piece, [this](Span part) {
                if (part.size() > 0) pieces.push_back(part);
            });
        }
    }

    /// Writes each piece anew by `rewrite(writer, size of the piece)`, which leaves nothing of it unread.
    template <class Rewrite>
    void rewrite(Rewrite&& rewrite) {
        std::swap(pieces, old_pieces);
        pieces.clear();
        text.rewrite([&](AlignedText::Rewriter& writer) {
            for (const Span piece : old_pieces) {
                writer.drop(piece.begin - writer.at());
                const std::size_t begin = writer.written();
                rewrite(writer, piece.size());
                if (writer.written() > begin) pieces.push_back({begin, writer.written()});
            }
        });
    }
};

/// Cuts text where `matches`, a list of what was found and of what lies between, says; calls add(Span).
class MatchSplitter {
public:
    explicit MatchSplitter(SplitBehavior behavior) : behavior_(behavior) {}

    /// Takes the next part of the text: parts follow each other.
    void push(Span part, bool is_match) {
        if (part.size() == 0 && !is_match) return;
        parts_.push_back({part, is_match});
    }

    template <class Add>
    void finish(Add&& add) {
        bool was_match = false;
        Span joined;
        bool has_joined = false;
        const auto begin_another = [&](Span part) {
            if (has_joined) add(joined);
            joined = part;
            has_joined = true;
        };
        switch (behavior_) {
            case SplitBehavior::removed:
                for (const Part& part : parts_) {
                    if (!part.is_match) add(part.span);
                }
                break;
            case SplitBehavior::isolated:
                for (const Part& part : parts_) add(part.span);
                break;
            case SplitBehavior::contiguous:
            case SplitBehavior::merged_with_previous:
                for (const Part& part : parts_) {
                    const bool joins = behavior_ == SplitBehavior::contiguous ? part.is_match == was_match
                                                                             : part.is_match && !was_match;
                    if (joins && has_joined) {
                        joined.end = part.span.end;
                    } else {
                        begin_another(part.span);
                    }
                    was_match = part.is_match;
                }
                if (has_joined) add(joined);
                break;
            case SplitBehavior::merged_with_next:
                // A match joins what follows, unless that is a match, too.
                for (std::size_t i = 0; i < parts_.size(); ++i) {
                    const bool joins = i > 0 && parts_[i - 1].is_match && !parts_[i].is_match;
                    if (joins) {
                        joined.end = parts_[i].span.end;
                    } else {
                        begin_another(parts_[i].span);
                    }
                }
                if (has_joined) add(joined);
                break;
        }
        parts_.clear();
    }

private:
    struct Part {
        Span span;
        bool is_match;
    };

    SplitBehavior behavior_;
    std::vector<Part> parts_;
};

/// Cuts each piece at the characters that `is_match`.
template <class IsMatch>
void cut_at_characters(CutText& text, SplitBehavior behavior, IsMatch&& is_match) {
    MatchSplitter splitter(behavior);
    text.cut([&](Span piece, auto&& add) {
        std::size_t begin = piece.begin;
        for (std::size_t at = piece.begin; at < piece.end;) {
            const Utf8Character character = decode_utf8_character(part(text.text.text(), {at, piece.end}));
            if (is_match(character.code_point)) {
                splitter.push({begin, at}, false);
                splitter.push({at, at + character.size}, true);
                begin = at + character.size;
            }
            at += character.size;
        }
        splitter.push({begin, piece.end}, false);
        splitter.finish(add);
    });
}

/// `writes_bytes` says whether ByteLevel writes bytes as characters; a model of bytes takes them as they are.
inline void apply_step(const pre_tokenizer::ByteLevel& step, CutText& text, bool writes_bytes) {
    if (step.add_prefix_space) {
        text.rewrite([](AlignedText::Rewriter& writer, std::size_t size) {
            if (size > 0 && writer.rest()[0] != ' ') writer.insert_before(" ");
            writer.copy(size);
        });
    }
    if (step.use_regex) {
        text.cut([&](Span piece, auto&& add) {
            while (piece.size() > 0) {
                const std::size_t size = first_piece_size(part(text.text.text(), piece));
                add(Span{piece.begin, piece.begin + size});
                piece.begin += size;
            }
        });
    }
    if (writes_bytes)
        text.rewrite([](AlignedText::Rewriter& writer, std::size_t size) { write_byte_level(writer, size); });
}

inline void apply_step(const pre_tokenizer::Split& step, CutText& text, bool) {
    MatchSplitter splitter(step.behavior);
    text.cut([&](Span piece, auto&& add) {
        std::size_t begin = piece.begin;
        step.pattern.for_each_match(part(text.text.text(), piece), [&](Span match) {
            match = {piece.begin + match.begin, piece.begin + match.end};
            splitter.push({begin, match.begin}, step.invert);
            splitter.push(match, !step.invert);
            begin = match.end;
        });
        splitter.push({begin, piece.end}, step.invert);
        splitter.finish(add);
    });
}

inline void apply_step(const pre_tokenizer::BertPreTokenizer&, CutText& text, bool) {
    text.cut([&](Span piece, auto&& add) {
        std::size_t begin = piece.begin;
        for (std::size_t at = piece.begin; at < piece.end;) {
            const Utf8Character character = decode_utf8_character(part(text.text.text(), {at, piece.end}));
            const std::size_t next = at + character.size;
            const bool is_mark = is_bert_punctuation(character.code_point);
            if (is_mark || is_white_space(character.code_point)) {
                add(Span{begin, at});
                if (is_mark) add(Span{at, next});
                begin = next;
            }
            at = next;
        }
        add(Span{begin, piece.end});
    });
}

inline void apply_step(const pre_tokenizer::Whitespace&, CutText& text, bool) {
    enum class Kind : std::uint8_t { space, word, other };
    text.cut([&](Span piece, auto&& add) {
        std::size_t begin = piece.begin;
        Kind kind = Kind::space;
        for (std::size_t at = piece.begin; at < piece.end;) {
            const Utf8Character character = decode_utf8_character(part(text.text.text(), {at, piece.end}));
            const Kind next = is_white_space(character.code_point)        ? Kind::space
                              : is_word_character(character.code_point) ? Kind::word
                                                                        : Kind::other;
            if (next != kind) {
                if (kind != Kind::space) add(Span{begin, at});
                begin = at;
                kind = next;
            }
            at += character.size;
        }
        if (kind != Kind::space) add(Span{begin, piece.end});
    });
}

inline void apply_step(const pre_tokenizer::WhitespaceSplit&, CutText& text, bool) {
    cut_at_characters(text, SplitBehavior::removed, is_white_space);
}

inline void apply_step(const pre_tokenizer::Metaspace& step, CutText& text, bool) {
    text.rewrite([&](AlignedText::Rewriter& writer, std::size_t size) {
        const std::string_view piece = writer.rest().substr(0, size);
        const bool is_prefixed = piece.starts_with(' ') || piece.starts_with(step.replacement);
        const bool prepends = step.prepend_scheme == PrependScheme::always ||
                              (step.prepend_scheme == PrependScheme::first && writer.source_at(writer.at()) == 0);
        if (prepends && !is_prefixed) writer.insert_before(step.replacement);
        for (std::size_t at = 0; at < piece.size();) {
            const std::size_t space = std::min(piece.find(' ', at), piece.size());
            writer.copy(space - at);
            if (space < piece.size()) writer.replace(1, step.replacement);
            at = space + 1;
        }
    });
    if (!step.split) return;
    text.cut([&](Span piece, auto&& add) {
        const std::string_view all = part(text.text.text(), piece);
        std::size_t begin = 0;
        for (std::size_t at = 1; (at = all.find(step.replacement, at)) != std::string_view::npos; ++at) {
            add(Span{piece.begin + begin, piece.begin + at});
            begin = at;
        }
        add(Span{piece.begin + begin, piece.end});
    });
}

inline void apply_step(const pre_tokenizer::Punctuation& step, CutText& text, bool) {
    cut_at_characters(text, step.behavior, is_bert_punctuation);
}

inline void apply_step(const pre_tokenizer::Digits& step, CutText& text, bool) {
    cut_at_characters(text, step.individual_digits ? SplitBehavior::isolated : SplitBehavior::contiguous, is_hugging_face_number);
}

inline void apply_step(const pre_tokenizer::CharDelimiterSplit& step, CutText& text, bool) {
    const char32_t delimiter = decode_utf8_character(step.delimiter).code_point;
    cut_at_characters(text, SplitBehavior::removed, [&](char32_t c) { return c == delimiter; });
}

inline void apply_step(const pre_tokenizer::FixedLength& step, CutText& text, bool) {
    text.cut([&](Span piece, auto&& add) {
        std::size_t begin = piece.begin, count = 0;
        for (std::size_t at = piece.begin; at < piece.end;) {
            if (count++ == step.length) {
                add(Span{begin, at});
                begin = at;
                count = 1;
            }
            at += decode_utf8_character(part(text.text.text(), {at, piece.end})).size;
        }
        add(Span{begin, piece.end});
    });
}

}  // namespace detail

}  // namespace tenon
