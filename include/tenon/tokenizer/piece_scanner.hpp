#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tenon::detail {

/// Cuts text into pieces that follow each other, as patterns say: their matches, and what lies between.
class PieceScanner {
public:
    virtual ~PieceScanner() = default;

    /// Writes where the next pieces of `text` end, from `begin` on, as many as there are or fit. Returns
    /// their number.
    virtual std::size_t scan(std::string_view text, std::size_t begin, std::span<std::size_t> ends) const = 0;

    /// The patterns, of which each cuts the pieces of the one before.
    virtual std::span<const std::string> patterns() const = 0;

    /// Whether pieces end before a space that follows another character, and hang on nothing before them.
    virtual bool ends_before_spaces() const = 0;

    /// Pieces of a text that end here or before it end there whatever follows the text; 0 where that isn't
    /// known.
    virtual std::size_t settled(std::string_view text) const = 0;

    /// The scanner written for several patterns, of which this one's are the last, if there is one.
    virtual std::shared_ptr<const PieceScanner> joined(std::vector<std::string>) const { return nullptr; }
};

/// A scanner written for some patterns: see word_scanners.hpp.
template <class Scanner>
class KnownScanner final : public PieceScanner {
public:
    explicit KnownScanner(std::vector<std::string> patterns) : patterns_(std::move(patterns)) {}

    std::size_t scan(std::string_view text, std::size_t begin, std::span<std::size_t> ends) const override {
        const char* const first = text.data();
        const char* const end = first + text.size();
        const char* at = first + begin;
        std::size_t count = 0;
        while (at < end && count < ends.size()) {
            at = Scanner::piece_end(at, end);
            ends[count++] = static_cast<std::size_t>(at - first);
        }
        return count;
    }

    std::span<const std::string> patterns() const override { return patterns_; }
    bool ends_before_spaces() const override { return true; }
    std::size_t settled(std::string_view text) const override { return Scanner::settled(text); }

private:
    std::vector<std::string> patterns_;
};

}  // namespace tenon::detail
