#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/piece_scanner.hpp"
#include "tenon/tokenizer/step.hpp"

namespace tenon {

namespace detail {

/// A text and the pieces that it is cut into, which follow each other; what lies between them is left out.
struct CutText {
    AlignedText text;
    std::vector<Span> pieces;
    std::vector<Span> old_pieces;

    void start() { pieces.assign(text.text().empty() ? 0 : 1, {0, text.text().size()}); }

    /// Cuts each piece by `cut(piece, add)`, which calls add(Span) with parts of the text. Empty ones are
    /// left out.
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

    void cut_by(const PieceScanner& scanner) {
        cut([&](Span piece, auto&& add) {
            std::array<std::size_t, 64> ends;
            for (std::size_t begin = 0; begin < piece.size();) {
                const std::size_t count = scanner.scan(part(text.text(), piece), begin, ends);
                for (std::size_t i = 0; i < count; ++i) {
                    add(Span{piece.begin + begin, piece.begin + ends[i]});
                    begin = ends[i];
                }
            }
        });
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

}  // namespace detail

/// A step that cuts text into pieces, which no token reaches over. Those of tokenizer.json are in
/// pre_tokenizers.hpp. `scanner`, if there is one, does the same to text that nothing else changes.
class PreTokenizerStep : public Step<detail::CutText&, bool> {
public:
    template <class Fields>
    PreTokenizerStep(Fields fields)
        : Step(fields), scanner_(scanner_of(fields)), needs_sources_(needs_sources(fields)) {
        if constexpr (requires { fields.only_writes_bytes(); })
            only_writes_bytes_ = fields.only_writes_bytes();
        if constexpr (requires { fields.cuts_at_spaces(); }) cuts_at_spaces_ = fields.cuts_at_spaces();
        if constexpr (requires { fields.is_local(); }) is_local_ = fields.is_local();
        if constexpr (requires { fields.looks_for(); }) looks_for_ = fields.looks_for();
    }

    const std::shared_ptr<const detail::PieceScanner>& scanner() const { return scanner_; }
    /// Whether the step does nothing but what a model of bytes does, too.
    bool only_writes_bytes() const { return only_writes_bytes_; }
    /// Whether the step asks where in the source a piece begins.
    bool needs_sources() const { return needs_sources_; }

    /// Whether pieces end before a space that follows another character, and text can be cut there before it
    /// is cut into pieces.
    bool cuts_at_spaces() const { return cuts_at_spaces_; }
    /// Whether text that is cut there into pieces can be so before.
    bool is_local() const { return is_local_ || cuts_at_spaces_; }
    /// The one character that the step looks for: between two others, text can be cut before the step. Empty
    /// if the step does more.
    const std::string& looks_for() const { return looks_for_; }

private:
    template <class Fields>
    static std::shared_ptr<const detail::PieceScanner> scanner_of(const Fields& fields) {
        if constexpr (requires { fields.scanner(); }) return fields.scanner();
        return nullptr;
    }

    template <class Fields>
    static bool needs_sources(const Fields& fields) {
        if constexpr (requires { fields.needs_sources(); }) return fields.needs_sources();
        return false;
    }

    std::shared_ptr<const detail::PieceScanner> scanner_;
    bool needs_sources_;
    bool only_writes_bytes_ = false, cuts_at_spaces_ = false, is_local_ = false;
    std::string looks_for_;
};

/// The steps that cut text into pieces, in order.
using PreTokenizer = std::vector<PreTokenizerStep>;

}  // namespace tenon
