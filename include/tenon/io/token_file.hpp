#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "tenon/core/error.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/io/mapped_file.hpp"

namespace tenon {

static_assert(std::endian::native == std::endian::little,
              "token files are mapped as they are: little-endian");

/// The widths in which tokens are stored.
template <typename T>
concept TokenWidth = std::same_as<T, std::uint16_t> || std::same_as<T, std::uint32_t>;

/// A mapped file of tokens: little-endian, without a header, as nanoGPT and CS336 store theirs.
template <TokenWidth Token>
class TokenFile {
public:
    /// Maps a file. Throws FileError, also if its size is no multiple of the token's.
    explicit TokenFile(std::string path) : file_(std::move(path)) {
        if (file_.bytes().size() % sizeof(Token) == 0) return;
        throw FileError(file_.path() + ": expected tokens of " + std::to_string(sizeof(Token)) +
                        " bytes, got " + std::to_string(file_.bytes().size()) + " bytes in all");
    }

    std::span<const Token> tokens() const {
        return {reinterpret_cast<const Token*>(file_.bytes().data()), file_.bytes().size() / sizeof(Token)};
    }
    std::size_t size() const { return tokens().size(); }
    const std::string& path() const { return file_.path(); }

private:
    MappedFile file_;
};

/// Writes a token file in bounded memory; nothing is at `path` before the commit.
template <TokenWidth Token>
class TokenFileWriter {
public:
    /// Throws FileError.
    explicit TokenFileWriter(std::string path) : file_(std::move(path)) {}

    /// Appends tokens. Throws FileError.
    void append(std::span<const Token> tokens) {
        file_.write(std::as_bytes(tokens));
        count_ += tokens.size();
    }

    /// Appends wider tokens. Throws FileError at one that the file's width cannot hold.
    void append(std::span<const std::uint32_t> tokens) requires(sizeof(Token) < sizeof(std::uint32_t)) {
        for (std::uint32_t wide : tokens) {
            auto token = static_cast<Token>(wide);
            if (token != wide) {
                throw FileError(file_.path() + ": token " + std::to_string(count_) +
                                ": expected one that fits " + std::to_string(8 * sizeof(Token)) +
                                " bits, got " + std::to_string(wide));
            }
            append(std::span<const Token>(&token, 1));
        }
    }

    /// The tokens appended so far.
    std::size_t size() const { return count_; }

    /// Puts the file in place. Throws FileError.
    void commit() { file_.commit(); }

private:
    AtomicFile file_;
    std::size_t count_ = 0;
};

}  // namespace tenon
