#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/byte_alphabet.hpp"
#include "tenon/tokenizer/byte_parts.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/merge.hpp"
#include "tenon/tokenizer/piece_tables.hpp"
#include "tenon/tokenizer/tokens.hpp"
#include "tenon/tokenizer/unicode.hpp"
#include "tenon/tokenizer/vocabulary.hpp"

namespace tenon {

/// What byte-pair encoding begins with.
enum class BytePairUnits : std::uint8_t {
    bytes,       ///< the bytes of a piece; the vocabulary writes them as GPT-2 does, and has all of them
    characters,  ///< its characters; the vocabulary holds them as they are
};

/// The fields of a byte-pair model in tokenizer.json.
struct BytePairOptions {
    std::optional<std::string> unknown = {};  ///< the token of characters that the vocabulary lacks
    std::string continuing_prefix = {};       ///< what tokens within a word begin with
    std::string end_suffix = {};              ///< what a word's last token ends with
    bool fuse_unknown = false;                ///< unknown characters in a row become one token
    bool byte_fallback = false;  ///< unknown characters become tokens <0x00> to <0xFF>, if those are there
    bool ignore_merges = false;  ///< a piece that is a token is that token, whatever its merges
};

/// Byte-pair encoding (Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units").
class BytePair {
public:
    using Units = BytePairUnits;

    /// Throws Error if units are bytes and the vocabulary lacks one.
    BytePair(Vocabulary vocabulary, detail::MergeTable merges, BytePairOptions options, Units units)
        : vocabulary_(std::move(vocabulary)),
          merges_(std::move(merges)),
          options_(std::move(options)),
          units_(units) {
        if (options_.unknown) unknown_id_ = vocabulary_.find(*options_.unknown);
        if (units_ == Units::bytes) add_raw_tokens();
        find_units();
        if (units_ == Units::bytes) find_byte_merges();
        if (units_ == Units::characters) find_cut();
        find_whole_pieces();
    }

    const Vocabulary& vocabulary() const { return vocabulary_; }
    const detail::MergeTable& merges() const { return merges_; }
    const BytePairOptions& options() const { return options_; }
    Units units() const { return units_; }
    bool has_byte_units() const { return units_ == Units::bytes; }

    /// The bytes that a token stands for in a piece.
    std::string_view token_bytes(TokenId id) const {
        if (units_ == Units::characters) return vocabulary_[id];
        const std::size_t begin = id == 0 ? 0 : raw_ends_[id - 1];
        return std::string_view(raw_).substr(begin, raw_ends_[id] - begin);
    }

    /// The token of a short piece that is one, or `absent`.
    TokenId whole_piece(const detail::PieceKey& key) const { return whole_pieces_.find(key); }

    /// Whether pieces may be cut anywhere: see first_cut.
    bool cuts_pieces() const { return !cut_.empty(); }

    /// Where a piece may be cut because no merge joins what stands there: the first place after its begin, or
    /// its end.
    std::size_t first_cut(std::string_view piece) const {
        if (cut_.empty()) return piece.size();
        for (std::size_t at = 1; (at = piece.find(cut_, at)) != std::string_view::npos; ++at) {
            if (may_cut_before(piece, at)) return at;
        }
        return piece.size();
    }

    /// Appends the tokens of a piece that begins at `offset`.
    void encode(std::string_view piece, std::size_t offset, detail::ModelScratch& scratch,
                detail::TokenList& to) const {
        if (piece.empty()) return;
        if (options_.ignore_merges) {
            const TokenId whole = find_whole(piece, scratch);
            if (whole != detail::absent) return to.push(whole, offset, offset + piece.size());
        }
        if (units_ == Units::bytes && is_plain() && !to.has_spans)
            return encode_bytes(piece, scratch, to.ids);
        scratch.tokens.clear();
        scratch.ends.clear();
        if (units_ == Units::bytes) {
            set_byte_units(piece, scratch.tokens);
        } else {
            append_units(piece, scratch);
        }
        if (!to.has_spans) {
            merges_.apply(scratch.tokens);
            to.ids.insert(to.ids.end(), scratch.tokens.begin(), scratch.tokens.end());
            return;
        }
        const auto end_of_unit = [&](std::size_t unit) {
            return units_ == Units::bytes ? unit + 1 : scratch.ends[unit];
        };
        const std::size_t unit_count = scratch.tokens.size();
        merges_.apply(scratch.tokens, &scratch.starts);
        std::size_t begin = 0;
        for (std::size_t i = 0; i < scratch.tokens.size(); ++i) {
            const std::size_t next = i + 1 < scratch.starts.size() ? scratch.starts[i + 1] : unit_count;
            const std::size_t end = end_of_unit(next - 1);
            to.push(scratch.tokens[i], offset + begin, offset + end);
            begin = end;
        }
    }

private:
    void set_byte_units(std::string_view bytes, std::vector<TokenId>& tokens) const {
        tokens.resize(bytes.size());
        for (std::size_t i = 0; i < bytes.size(); ++i)
            tokens[i] = byte_units_[static_cast<unsigned char>(bytes[i])];
    }

    /// As set_byte_units, with the merges of two bytes that come anyway: before any other merge could take
    /// one of the two away.
    void set_merged_bytes(std::string_view bytes, std::vector<TokenId>& tokens) const {
        tokens.resize(bytes.size());
        std::size_t count = 0;
        std::uint32_t before = detail::absent;  // the rank from which on a merge may take the next byte
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            TokenId token = byte_units_[static_cast<unsigned char>(bytes[i])];
            if (i + 1 < bytes.size()) {
                const ByteMerge& merge = byte_merges_[index_of(bytes[i], bytes[i + 1])];
                const std::uint32_t after =
                    i + 2 < bytes.size() ? byte_merges_[index_of(bytes[i + 1], bytes[i + 2])].first_across
                                         : detail::absent;
                const bool is_sure = merge.merge.rank < before && merge.merge.rank < after;
                if (is_sure) token = merge.merge.result;
                before = is_sure ? after : merge.first_across;
                i += is_sure;
            }
            tokens[count++] = token;
        }
        tokens.resize(count);
    }

    /// Appends the tokens of a piece of bytes, part by part.
    void encode_bytes(std::string_view piece, detail::ModelScratch& scratch,
                      std::vector<TokenId>& ids) const {
        const auto merge = [this](std::string_view part, std::vector<TokenId>& tokens) {
            set_merged_bytes(part, tokens);
            merges_.apply(tokens);
        };
        for (std::string_view rest = piece; !rest.empty();) {
            const std::string_view part = rest.substr(0, byte_parts_.first_size(rest));
            rest.remove_prefix(part.size());
            if (part.size() == 1) {
                ids.push_back(byte_units_[static_cast<unsigned char>(part[0])]);
            } else if (part.size() <= detail::PartMemory::maximum_size && part.size() < piece.size()) {
                scratch.parts.append(part, scratch.tokens, ids, merge);
            } else {
                merge(part, scratch.tokens);
                ids.insert(ids.end(), scratch.tokens.begin(), scratch.tokens.end());
            }
        }
    }

    /// Whether units are written alike wherever they stand in a word.
    bool is_plain() const { return options_.continuing_prefix.empty() && options_.end_suffix.empty(); }

    /// Keeps the bytes of each token, for those that are written in GPT-2's alphabet; the others stand for
    /// themselves when they are decoded, and in no text.
    void add_raw_tokens() {
        raw_ends_.reserve(vocabulary_.size());
        is_written_.resize(vocabulary_.size());
        for (TokenId id = 0; id < vocabulary_.size(); ++id) {
            const std::string_view written = vocabulary_[id];
            if (detail::append_read_bytes(raw_, written)) {
                is_written_[id] = vocabulary_.has(id);
                byte_parts_.add(std::string_view(raw_).substr(raw_ends_.empty() ? 0 : raw_ends_.back()));
            } else {
                raw_ += written;
            }
            raw_ends_.push_back(raw_.size());
        }
    }

    /// Whether a text can hold the token.
    bool occurs(TokenId id) const { return units_ == Units::bytes ? is_written_[id] : vocabulary_.has(id); }

    void find_units() {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const char character = static_cast<char>(byte);
            const std::string written =
                units_ == Units::bytes ? detail::written_bytes({&character, 1}) : std::string(1, character);
            byte_units_[byte] = vocabulary_.find(written);
            if (units_ == Units::bytes && byte_units_[byte] == detail::absent)
                throw Error("expected a token for each byte, got none for byte " + std::to_string(byte));
            fallback_[byte] = vocabulary_.find(detail::byte_token(static_cast<std::uint8_t>(byte)));
        }
        if (units_ == Units::bytes) return;
        for (TokenId id = 0; id < vocabulary_.size(); ++id) {
            const std::string_view token = vocabulary_[id];
            if (token.empty() || token.size() > 4) continue;
            const Utf8Character character = decode_utf8_character(token);
            if (character.code_point != Utf8Character::invalid && character.size == token.size())
                character_units_.add(character.code_point, 0, id);
        }
    }

    /// Two bytes next to each other.
    struct ByteMerge {
        detail::Merge merge;
        std::uint32_t first_across = detail::absent;  // the least rank of what merges tokens around them
    };

    static std::size_t index_of(char first, char second) {
        return std::size_t{static_cast<unsigned char>(first)} * 256 + static_cast<unsigned char>(second);
    }

    void find_byte_merges() {
        byte_merges_.resize(256 * 256);
        for (std::size_t i = 0; i < byte_merges_.size(); ++i)
            byte_merges_[i].merge = merges_.find(byte_units_[i / 256], byte_units_[i % 256]);
        merges_.for_each([&](TokenId left, TokenId right, const detail::Merge& merge) {
            const std::string_view before = token_bytes(left), after = token_bytes(right);
            if (before.empty() || after.empty()) return;
            std::uint32_t& first = byte_merges_[index_of(before.back(), after.front())].first_across;
            first = std::min(first, merge.rank);
        });
    }

    /// Text is cut before the character that begins most tokens, such as the one that stands for a space.
    void find_cut() {
        if (options_.ignore_merges || !is_plain()) return;
        for (const std::string_view candidate : {std::string_view("\u2581"), std::string_view(" ")}) {
            std::size_t count = 0;
            for (TokenId id = 0; id < vocabulary_.size(); ++id)
                count += vocabulary_[id].starts_with(candidate);
            if (count * 8 < vocabulary_.count() || vocabulary_.find(candidate) == detail::absent) continue;
            cut_ = candidate;
            break;
        }
        if (cut_.empty()) return;
        for (TokenId id = 0; id < vocabulary_.size(); ++id) {
            const std::string_view token = vocabulary_[id];
            for (std::size_t at = 1; (at = token.find(cut_, at)) != std::string_view::npos; ++at) {
                const std::string_view before = token.substr(0, at);
                // These tokens stand for characters that their text doesn't show.
                const bool is_hidden = (options_.unknown && before.ends_with(*options_.unknown)) ||
                                       (at >= 6 && is_fallback(before.substr(at - 6)));
                if (is_hidden) {
                    cut_ = {};
                    return;
                }
                joined_before_cut_[static_cast<unsigned char>(before.back())] = true;
            }
        }
    }

    /// Whether no token holds both the cut and the byte before it.
    bool may_cut_before(std::string_view piece, std::size_t at) const {
        return !joined_before_cut_[static_cast<unsigned char>(piece[at - 1])];
    }

    TokenId find_whole(std::string_view piece, detail::ModelScratch& scratch) const {
        if (units_ == Units::characters) return vocabulary_.find(piece);
        if (piece.size() <= detail::PieceKey::maximum_size)
            return whole_pieces_.find(detail::key_of_piece(piece, piece.size()));
        if (piece.size() > longest_ || !long_pieces_.may_have(detail::hash_bytes(piece) >> 32))
            return detail::absent;
        scratch.text = detail::written_bytes(piece);
        return vocabulary_.find(scratch.text);
    }

    /// The short pieces that are one token. Merges need not lead to every token of a vocabulary.
    void find_whole_pieces() {
        whole_pieces_.reserve(vocabulary_.count());
        long_pieces_.reset(std::bit_ceil(vocabulary_.count() / 16 + 1));  // few are
        detail::ModelScratch scratch;
        detail::TokenList tokens;
        for (TokenId id = 0; id < vocabulary_.size(); ++id) {
            if (!occurs(id)) continue;
            const std::string_view bytes = token_bytes(id);
            longest_ = std::max(longest_, bytes.size());
            if (bytes.size() > detail::PieceKey::maximum_size)
                long_pieces_.add(detail::hash_bytes(bytes) >> 32);
            if (bytes.empty() || bytes.size() > detail::PieceKey::maximum_size) continue;
            if (!options_.ignore_merges) {
                tokens.clear();
                encode(bytes, 0, scratch, tokens);
                if (tokens.ids.size() != 1 || tokens.ids[0] != id) continue;
            }
            whole_pieces_.add(detail::key_of_piece(bytes, bytes.size()), id);
        }
    }

    /// Appends the units of a piece, and where each ends.
    void append_units(std::string_view piece, detail::ModelScratch& scratch) const {
        const bool is_plain = this->is_plain();
        std::size_t unknown_size = 0, end = 0;
        const auto push = [&](TokenId id, std::size_t size) {
            scratch.tokens.push_back(id);
            scratch.ends.push_back(end += size);
        };
        const auto end_unknown = [&] {
            if (unknown_size > 0) push(unknown_id_, unknown_size);
            unknown_size = 0;
        };
        for (std::size_t at = 0, size = 0; at < piece.size(); at += size) {
            const std::string_view rest = piece.substr(at);
            const Utf8Character character = decode_utf8_character(rest);
            size = character.code_point == Utf8Character::invalid ? 1 : character.size;
            std::string_view unit = rest.substr(0, size);
            TokenId id;
            if (is_plain) {
                id = unit_of(character);
            } else {
                scratch.text = at == 0 ? "" : options_.continuing_prefix;
                scratch.text += unit;
                if (size == rest.size()) scratch.text += options_.end_suffix;
                unit = scratch.text;
                id = vocabulary_.find(unit);
            }
            if (id != detail::absent) {
                end_unknown();
                push(id, size);
            } else if (options_.byte_fallback && has_fallback(unit)) {
                for (const char byte : unit) push(fallback_[static_cast<unsigned char>(byte)], 1);
            } else if (options_.unknown) {
                if (unknown_id_ == detail::absent)
                    detail::unknown_id(vocabulary_, *options_.unknown);  // throws
                if (!options_.fuse_unknown) end_unknown();
                unknown_size += size;
            }
        }
        end_unknown();
    }

    TokenId unit_of(const Utf8Character& character) const {
        if (character.code_point < 128) return byte_units_[character.code_point];
        return character_units_.find(character.code_point, 0);
    }

    bool is_fallback(std::string_view token) const {
        const TokenId id = vocabulary_.find(token);
        return id != detail::absent && std::find(fallback_.begin(), fallback_.end(), id) != fallback_.end();
    }

    bool has_fallback(std::string_view unit) const {
        return std::all_of(unit.begin(), unit.end(), [this](char byte) {
            return fallback_[static_cast<unsigned char>(byte)] != detail::absent;
        });
    }

    Vocabulary vocabulary_;
    detail::MergeTable merges_;
    BytePairOptions options_;
    Units units_;
    TokenId unknown_id_ = detail::absent;
    std::array<TokenId, 256> byte_units_{};  // of characters, those of ASCII
    std::array<TokenId, 256> fallback_{};
    detail::PairMap character_units_;
    std::vector<ByteMerge> byte_merges_;
    std::string raw_;  // the bytes of the tokens, one after the other
    std::vector<std::size_t> raw_ends_;
    std::vector<bool> is_written_;
    detail::ByteParts byte_parts_;
    std::string_view cut_;
    std::array<bool, 256> joined_before_cut_{};  // the last bytes of what stands before a cut within tokens
    std::size_t longest_ = 0;
    detail::WholePieceTable whole_pieces_;
    detail::HashFilter long_pieces_;  // of the tokens that are too long for the table
};

}  // namespace tenon
