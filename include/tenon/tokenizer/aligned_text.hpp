#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/character_classes.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon {

/// The bytes [begin, end) of a text.
struct Span {
    std::size_t begin = 0;
    std::size_t end = 0;

    std::size_t size() const { return end - begin; }
    bool operator==(const Span&) const = default;
};

namespace detail {

inline std::string_view part(std::string_view text, Span span) {
    return text.substr(span.begin, span.size());
}

/// Text on its way from a source to tokens. If it is tracked, it knows for each of its bytes which part of
/// the source that byte stands for: whole characters.
class AlignedText {
public:
    /// The text of a part of a source that begins there at `offset`.
    void assign(std::string_view part, std::size_t offset, bool is_tracked) {
        text_.assign(part);
        is_tracked_ = is_tracked;
        front_ = offset;
        sources_.clear();
        if (!is_tracked) return;
        for (std::size_t at = 0; at < part.size();) {
            const std::size_t size = decode_utf8_character(part.substr(at)).size;
            sources_.insert(sources_.end(), size, {offset + at, offset + at + size});
            at += size;
        }
    }

    /// A part of another text.
    void assign(const AlignedText& other, Span part) {
        text_.assign(detail::part(other.text_, part));
        is_tracked_ = other.is_tracked_;
        front_ = other.front_ + part.begin;
        sources_.clear();
        if (!is_tracked_) return;
        const auto begin = other.sources_.begin();
        sources_.assign(begin + static_cast<std::ptrdiff_t>(part.begin),
                        begin + static_cast<std::ptrdiff_t>(part.end));
    }

    std::string_view text() const { return text_; }

    /// Where the part of the text comes from; nowhere if the text is not tracked.
    Span source_of(Span part) const {
        if (!is_tracked_ || sources_.empty() || part.end > sources_.size()) return part;
        const std::size_t begin =
            part.begin < sources_.size() ? sources_[part.begin].begin : sources_.back().end;
        return {begin, part.begin < part.end ? sources_[part.end - 1].end : begin};
    }

    class Rewriter;

    /// Replaces the text by what `rewrite(Rewriter&)` writes.
    template <class Rewrite>
    void rewrite(Rewrite&& rewrite);

private:
    std::string text_, old_text_;
    std::vector<Span> sources_, old_sources_;
    std::size_t front_ = 0;  // what the first byte comes from, or any later byte
    bool is_tracked_ = false;
};

/// Writes a text anew, from the first byte of the old one to the last. What is not written by the end is left
/// out.
class AlignedText::Rewriter {
public:
    explicit Rewriter(AlignedText& text) : text_(text) {}

    /// The old text.
    std::string_view old() const { return text_.old_text_; }
    /// The next byte of it.
    std::size_t at() const { return at_; }
    bool is_at_end() const { return at_ == old().size(); }
    std::string_view rest() const { return old().substr(at_); }
    /// The size of what is written.
    std::size_t written() const { return text_.text_.size(); }

    /// Where in the source a byte of the old text, or its end, lies; nowhere if the text is not tracked.
    std::size_t source_at(std::size_t at) const {
        const std::vector<Span>& sources = text_.old_sources_;
        if (sources.empty()) return text_.front_ + at;
        return at < sources.size() ? sources[at].begin : sources.back().end;
    }

    /// Keeps the next bytes.
    void copy(std::size_t size) {
        if (size > 0) begin(at_);
        text_.text_.append(text_.old_text_, at_, size);
        if (text_.is_tracked_) {
            const auto from = text_.old_sources_.begin() + static_cast<std::ptrdiff_t>(at_);
            text_.sources_.insert(text_.sources_.end(), from, from + static_cast<std::ptrdiff_t>(size));
        }
        at_ += size;
    }

    /// Leaves out the next bytes.
    void drop(std::size_t size) { at_ += size; }

    /// Writes bytes in place of the next character, which has `size` bytes.
    void replace(std::size_t size, std::string_view bytes) {
        insert_before(bytes);
        at_ += size;
    }

    /// Writes bytes that come from where the next byte does.
    void insert_before(std::string_view bytes) {
        begin(at_);
        text_.text_ += bytes;
        if (text_.is_tracked_)
            text_.sources_.insert(text_.sources_.end(), bytes.size(), text_.old_sources_[at_]);
    }

    /// Writes bytes that come from where the last byte did.
    void insert_after(std::string_view bytes) {
        begin(at_ == 0 ? 0 : at_ - last_character_size(old().substr(0, at_)));
        text_.text_ += bytes;
        if (text_.is_tracked_) {
            text_.sources_.insert(text_.sources_.end(), bytes.size(),
                                  at_ == 0 ? Span{text_.front_, text_.front_} : text_.old_sources_[at_ - 1]);
        }
    }

    /// Writes bytes that come from the given part of the source.
    void write_from(std::string_view bytes, Span source) {
        text_.text_ += bytes;
        if (text_.is_tracked_) text_.sources_.insert(text_.sources_.end(), bytes.size(), source);
    }

private:
    /// What is written first, if nothing is yet, comes from the given byte of the old text.
    void begin(std::size_t at) {
        if (written() == 0 && at > 0) ++text_.front_;
    }

    AlignedText& text_;
    std::size_t at_ = 0;
};

template <class Rewrite>
void AlignedText::rewrite(Rewrite&& rewrite) {
    std::swap(text_, old_text_);
    std::swap(sources_, old_sources_);
    text_.clear();
    sources_.clear();
    Rewriter rewriter(*this);
    rewrite(rewriter);
}

}  // namespace detail

}  // namespace tenon
