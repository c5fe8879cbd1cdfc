#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/core/parallel.hpp>
#include <tenon/io/token_file.hpp>
#include <tenon/tokenizer/part_encoder.hpp>
#include <tenon/tokenizer/text_blocks.hpp>
#include <tenon/tokenizer/tokenizer.hpp>

namespace tenon {

struct EncodeFilesOptions {
    std::optional<TokenId> before_each = {};        ///< a token before each file's, such as an end of text
    std::size_t block_size = std::size_t{1} << 20;  ///< bytes of text that a thread encodes at a time
    bool add_special_tokens = true;  ///< whether the tokenizer's template is put around each file
};

/// What was encoded.
struct EncodedFiles {
    std::int64_t bytes = 0, tokens = 0;
    int token_size = 0;  ///< bytes a token in the file
};

namespace detail {

template <class Token, class Progress>
EncodedFiles encode_files(const Tokenizer& tokenizer, std::span<const std::string> paths,
                          const std::string& path, const EncodeFilesOptions& options, Progress& progress) {
    const PartEncoder encoder(tokenizer, options.add_special_tokens);
    const std::size_t block_size = std::max<std::size_t>(options.block_size, 1);
    TextBlocks texts(
        paths, [&](std::string_view text) { return encoder.last_cut(text); }, block_size);
    TokenFileWriter<Token> writer(path);
    EncodedFiles done;
    done.token_size = sizeof(Token);
    // A few blocks for each thread even out cores of unequal speed.
    const std::size_t round_size = 4 * static_cast<std::size_t>(thread_count()) * block_size;
    std::vector<TextBlock> blocks;
    std::vector<std::vector<Token>> tokens;
    for (bool is_last = false; !is_last;) {
        blocks.clear();
        for (std::size_t size = 0; size < round_size && blocks.size() < 4096;) {
            std::optional<TextBlock> block = texts.next();
            if ((is_last = !block)) break;
            size += block->text.size();
            blocks.push_back(std::move(*block));
        }
        tokens.resize(blocks.size());
        parallel_for_each(static_cast<std::int64_t>(blocks.size()), [&](std::int64_t i) {
            const TextBlock& block = blocks[static_cast<std::size_t>(i)];
            std::vector<Token>& to = tokens[static_cast<std::size_t>(i)];
            to.clear();
            if (block.begins_file && options.before_each)
                to.push_back(static_cast<Token>(*options.before_each));
            const std::vector<TokenId> ids = encoder.encode(block.text, block.begins_file, block.ends_file);
            to.insert(to.end(), ids.begin(), ids.end());
        });
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            writer.append(std::span<const Token>(tokens[i]));
            done.bytes += static_cast<std::int64_t>(blocks[i].text.size());
            done.tokens += static_cast<std::int64_t>(tokens[i].size());
        }
        progress(std::as_const(done));
    }
    writer.commit();
    return done;
}

}  // namespace detail

/// Encodes text files of any size into a token file, on several threads and in memory that does not grow with
/// the texts: the ids of each file's `encode_ids`, one file after the other, whatever the threads and the
/// block size. A token takes two bytes where the vocabulary fits them, else four. Calls
/// progress(EncodedFiles) now and then. Nothing is at `path` before all is done. Throws FileError, and Error
/// where the token before each file is not in the vocabulary.
template <class Progress>
EncodedFiles encode_files(const Tokenizer& tokenizer, std::span<const std::string> paths,
                          const std::string& path, const EncodeFilesOptions& options, Progress&& progress) {
    if (options.before_each) tokenizer.token_bytes(*options.before_each);
    return tokenizer.vocabulary_size() <= 65536
               ? detail::encode_files<std::uint16_t>(tokenizer, paths, path, options, progress)
               : detail::encode_files<std::uint32_t>(tokenizer, paths, path, options, progress);
}

inline EncodedFiles encode_files(const Tokenizer& tokenizer, std::span<const std::string> paths,
                                 const std::string& path, const EncodeFilesOptions& options = {}) {
    return encode_files(tokenizer, paths, path, options, [](const EncodedFiles&) {});
}

}  // namespace tenon
