#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/block_kinds.hpp"

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
            if constexpr (has_blocks) {
                const std::size_t before = count;
                if (static_cast<std::size_t>(end - at) >= ByteBlock::size) {
                    const auto offset = static_cast<std::size_t>(at - first);
                    for (std::uint64_t known = known_ends(at, end); known != 0 && count < ends.size();
                         known &= known - 1)
                        ends[count++] = offset + static_cast<std::size_t>(std::countr_zero(known));
                }
                if (count > before) {
                    at = first + ends[count - 1];
                    continue;
                }
            }
            at = Scanner::piece_end(at, end);
            ends[count++] = static_cast<std::size_t>(at - first);
        }
        return count;
    }

    std::span<const std::string> patterns() const override { return patterns_; }
    bool ends_before_spaces() const override { return true; }
    std::size_t settled(std::string_view text) const override { return Scanner::settled(text); }

private:
    static constexpr bool has_blocks = requires(const BlockKinds& kinds) { Scanner::piece_begins(kinds); };

    /// Where pieces end in the 64 bytes from `at` on, where one begins, as far as these bytes tell: a bit for
    /// each.
    static std::uint64_t known_ends(const char* at, const char* end) {
        const BlockKinds kinds = kinds_of_block(at, end, Scanner::block_letters);
        // What lies before the last bytes, and before whitespace that may go on, hangs on nothing beyond.
        const std::uint64_t whitespace = kinds.blanks | kinds.line_ends;
        const std::uint64_t all =
            kinds.size == ByteBlock::size ? ~std::uint64_t{0} : (std::uint64_t{1} << kinds.size) - 1;
        const std::uint64_t until_open = std::bit_floor(~whitespace & all) << 1;
        const std::uint64_t known = (until_open | (until_open - 1)) & all >> 3;
        std::uint64_t begins = Scanner::piece_begins(kinds) | 1;
        for (std::uint64_t rest = begins & kinds.apostrophes & known; rest != 0; rest &= rest - 1) {
            const int apostrophe = std::countr_zero(rest);
            const auto size = Scanner::contraction_end(at + apostrophe, end) - (at + apostrophe);
            if (size == 0) continue;
            begins &= ~(std::uint64_t{2} << apostrophe);
            begins |= std::uint64_t{1} << (apostrophe + size);
        }
        return begins & known & ~std::uint64_t{1};
    }

    std::vector<std::string> patterns_;
};

}  // namespace tenon::detail
