#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/parallel.hpp"
#include "tenon/tokenizer/hash_tables.hpp"
#include "tenon/tokenizer/safe_cut.hpp"
#include "tenon/tokenizer/special_tokens.hpp"
#include "tenon/tokenizer/text_blocks.hpp"

namespace tenon {

/// Distinct words, in the order in which they came first, and how often each one came: all that training
/// needs of a text.
class WordCounts {
public:
    std::uint32_t size() const { return words_.size(); }
    std::string_view word(std::uint32_t index) const { return words_[index]; }
    std::uint64_t count(std::uint32_t index) const { return counts_[index]; }

    void add(std::string_view word, std::uint64_t count = 1) {
        const std::uint32_t index = words_.add(word);
        if (index == counts_.size()) counts_.push_back(0);
        counts_[index] += count;
    }

    /// Adds what another has counted, as if its text came next.
    void add(const WordCounts& other) {
        for (std::uint32_t index = 0; index < other.size(); ++index)
            add(other.word(index), other.count(index));
    }

private:
    detail::StringTable words_;
    std::vector<std::uint64_t> counts_;
};

/// Counts the words of text files, on several threads and in memory that grows with the distinct words, not
/// with the files. `cut(text, sink)` calls sink(word) for the words of a text; files are cut into blocks
/// where no word and no special token lies across. The counts and their order are the same for any number of
/// threads. Calls progress(bytes so far) now and then. Throws FileError.
template <class Cut, class Progress>
void count_words(std::span<const std::string> paths, std::span<const std::string> special_tokens, Cut&& cut,
                 WordCounts& counts, Progress&& progress) {
    constexpr std::size_t block_size = std::size_t{1} << 22;
    const detail::SpecialTokenFinder finder(special_tokens);
    detail::TextBlocks texts(
        paths, [&](std::string_view text) { return detail::last_safe_cut(text, finder); }, block_size);
    std::int64_t bytes = 0;
    std::vector<std::string> blocks;
    for (bool is_last = false; !is_last;) {
        blocks.clear();
        while (blocks.size() < 2 * static_cast<std::size_t>(thread_count())) {
            std::optional<detail::TextBlock> block = texts.next();
            if ((is_last = !block)) break;
            bytes += static_cast<std::int64_t>(block->text.size());
            blocks.push_back(std::move(block->text));
        }
        std::vector<WordCounts> counted(blocks.size());
        parallel_for_each(static_cast<std::int64_t>(blocks.size()), [&](std::int64_t i) {
            WordCounts& own = counted[static_cast<std::size_t>(i)];
            cut(std::string_view(blocks[static_cast<std::size_t>(i)]),
                [&](std::string_view word) { own.add(word); });
        });
        for (const WordCounts& own : counted) counts.add(own);
        progress(bytes);
    }
}

}  // namespace tenon
