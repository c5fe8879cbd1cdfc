#pragma once

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/io/file.hpp"
#include "tenon/tokenizer/merge.hpp"
#include "tenon/training/progress.hpp"

/// What is read: files one after the other or, if none are named, standard input.
class Input {
public:
    explicit Input(std::vector<std::string> paths, std::string label)
        : paths_(std::move(paths)), label_(std::move(label)) {
        for (const std::string& path : paths_) {
            std::size_t size = 0;
            tenon::detail::FileDescriptor file(tenon::detail::open_regular_file(path, size));
            total_ += static_cast<std::int64_t>(size);
        }
        struct stat status;
        if (paths_.empty() && ::fstat(STDIN_FILENO, &status) == 0 && S_ISREG(status.st_mode))
            total_ = status.st_size;
    }

    /// The bytes of all, as far as they are known beforehand.
    std::int64_t total() const { return total_; }

    /// Calls use(part) for the parts of each file, in order, and finish() after each. Shows how far it is.
    /// What they throw is said to be of the file.
    template <class Use, class Finish>
    void read(Use&& use, Finish&& finish) {
        std::optional<tenon::Progress> progress;
        if (total_ >= std::int64_t{1} << 22) progress.emplace(total_, label_);
        const auto start = std::chrono::steady_clock::now();
        std::int64_t done = 0;
        std::vector<char> buffer(std::size_t{1} << 20);
        const auto read_all = [&](int file, const std::string& name) {
            for (;;) {
                const ssize_t size = ::read(file, buffer.data(), buffer.size());
                if (size < 0 && errno == EINTR) continue;
                if (size < 0) tenon::detail::throw_system_error(name, "reading", errno);
                if (size == 0) break;
                tenon::detail::with_place(
                    name, [&] { use(std::string_view(buffer.data(), static_cast<std::size_t>(size))); });
                done += size;
                if (progress) progress->update(done, 0, throughput(done, start));
            }
            tenon::detail::with_place(name, finish);
        };
        if (paths_.empty()) read_all(STDIN_FILENO, "standard input");
        for (const std::string& path : paths_) {
            std::size_t size = 0;
            tenon::detail::FileDescriptor file(tenon::detail::open_regular_file(path, size));
            read_all(file.number(), path);
        }
    }

    static std::string throughput(std::int64_t bytes, std::chrono::steady_clock::time_point start) {
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
        char text[32];
        std::snprintf(text, sizeof text, "%.1f MB/s", static_cast<double>(bytes) * 1e-6 / elapsed.count());
        return text;
    }

private:
    std::vector<std::string> paths_;
    std::string label_;
    std::int64_t total_ = 0;
};

/// What is written: a file, which appears whole or not at all, or standard output.
class Output {
public:
    /// An empty path is standard output.
    explicit Output(const std::string& path) {
        if (!path.empty()) file_.emplace(path);
    }

    void write(std::string_view bytes) {
        if (file_) return file_->write(bytes);
        if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size())
            throw tenon::FileError("standard output: writing failed");
    }

    void finish() {
        if (file_) return file_->commit();
        if (std::fflush(stdout) != 0) throw tenon::FileError("standard output: writing failed");
    }

private:
    std::optional<tenon::AtomicFile> file_;
};

/// Writes ids as text, separated by spaces, or as tokens of two bytes or four.
class IdWriter {
public:
    /// `token_size` is 0 for text.
    IdWriter(Output& output, int token_size) : output_(&output), token_size_(token_size) {}

    void operator()(tenon::TokenId id) {
        if (token_size_ == 0) {
            char digits[16];
            const auto end = std::to_chars(digits, digits + sizeof digits, id).ptr;
            if (std::exchange(is_within_line_, true)) buffer_ += ' ';
            buffer_.append(digits, end);
        } else {
            for (int byte = 0; byte < token_size_; ++byte) buffer_ += static_cast<char>(id >> 8 * byte);
        }
        if (buffer_.size() > std::size_t{1} << 16) flush();
    }

    void end_text() {
        if (token_size_ == 0) buffer_ += '\n';
        is_within_line_ = false;
        flush();
    }

private:
    void flush() {
        output_->write(buffer_);
        buffer_.clear();
    }

    Output* output_;
    int token_size_;
    bool is_within_line_ = false;
    std::string buffer_;
};

/// Takes ids out of bytes that come in parts, as IdWriter writes them.
class IdReader {
public:
    using Sink = std::function<void(tenon::TokenId)>;

    /// `token_size` is 0 for text. Ids are below `vocabulary_size`.
    IdReader(std::size_t vocabulary_size, int token_size, Sink sink)
        : vocabulary_size_(vocabulary_size), token_size_(token_size), sink_(std::move(sink)) {}

    /// Throws Error for what is no id.
    void push(std::string_view bytes) {
        for (const char byte : bytes) {
            ++offset_;
            if (token_size_ > 0) {
                word_ += byte;
                if (word_.size() == static_cast<std::size_t>(token_size_)) end_token();
            } else if (std::string_view(" \t\r\n").find(byte) != std::string_view::npos) {
                end_word();
            } else if (word_.size() < 32) {  // no id is that long: the beginning will do for the message
                word_ += byte;
            }
        }
    }

    void finish() {
        if (token_size_ > 0 && !word_.empty()) {
            throw tenon::Error("expected tokens of " + std::to_string(token_size_) + " bytes, got " +
                               std::to_string(offset_) + " bytes in all");
        }
        if (token_size_ == 0) end_word();
        offset_ = 0;
    }

private:
    void end_token() {
        tenon::TokenId id = 0;
        for (std::size_t i = 0; i < word_.size(); ++i)
            id |= tenon::TokenId{static_cast<unsigned char>(word_[i])} << 8 * i;
        if (id >= vocabulary_size_) fail(std::to_string(id));
        word_.clear();
        sink_(id);
    }

    void end_word() {
        if (word_.empty()) return;
        tenon::TokenId id = 0;
        const auto [end, error] = std::from_chars(word_.data(), word_.data() + word_.size(), id);
        if (error != std::errc() || end != word_.data() + word_.size() || id >= vocabulary_size_)
            fail("\"" + word_ + "\"");
        word_.clear();
        sink_(id);
    }

    [[noreturn]] void fail(const std::string& found) const {
        throw tenon::Error("expected a token id below " + std::to_string(vocabulary_size_) + ", found " +
                           found + " before offset " + std::to_string(offset_));
    }

    std::size_t vocabulary_size_;
    int token_size_;
    Sink sink_;
    std::string word_;
    std::int64_t offset_ = 0;
};
