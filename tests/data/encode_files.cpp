#include "tenon/data/encode_files.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "../io/temporary_folder.hpp"
#include "../io/thrown_message.hpp"
#include "../support.hpp"
#include "tenon/tokenizer/train.hpp"

using namespace tenon;

#ifndef __has_feature
#define __has_feature(name) 0
#endif

namespace {

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
constexpr bool keeps_what_is_freed = true;
#else
constexpr bool keeps_what_is_freed = false;
#endif

const std::vector<std::string> special_tokens = {"<|end|>", "<| a b |>", "b |>", " pad\n"};

/// A text of `size` parts that end in all ways: words, runs of whitespace of all kinds, contractions, cut
/// characters, special tokens and what looks like their beginning.
std::string mixed_text(std::uint32_t seed, int size) {
    const std::vector<std::string> parts = {"the",
                                            " cat",
                                            "'s",
                                            "'",
                                            " ",
                                            "  ",
                                            "\n",
                                            "\n\n ",
                                            "\t",
                                            "\r\n",
                                            "123",
                                            " 45",
                                            ",",
                                            "!?",
                                            "文字",
                                            "ü",
                                            "\xC2\xA0",
                                            "\xE3\x80\x80",
                                            "\xE2\x80\xA8",
                                            "\xC2",
                                            "\xE3\x80",
                                            "\xFF",
                                            "🙂",
                                            "<|end|>",
                                            "<| a b |>",
                                            "<| a",
                                            " b |>",
                                            " pad\n",
                                            " pad",
                                            "<",
                                            "|>",
                                            "\x85",
                                            "\xA0",
                                            std::string(1, '\0'),
                                            "it's"};
    support::Numbers next(seed);
    std::string text;
    for (int i = 0; i < size; ++i)
        text += parts[static_cast<std::size_t>((next() + 1) / 2 * static_cast<double>(parts.size()))];
    return text;
}

/// Its merges join whatever may stand side by side in such texts, whitespace of all kinds included: a cut in
/// the wrong place shows.
Tokenizer small_tokenizer() { return train_byte_pair_tokenizer(mixed_text(77, 20'000), 600, special_tokens); }

template <class Token>
std::vector<TokenId> tokens_in(const std::string& path) {
    const TokenFile<Token> file(path);
    return {file.tokens().begin(), file.tokens().end()};
}

/// A line of /proc/self/status, in KiB; 0 where it cannot be read.
long status_kilobytes(const char* format) {
    long value = 0;
    if (std::FILE* status = std::fopen("/proc/self/status", "r")) {
        char line[256];
        while (std::fgets(line, sizeof line, status) && std::sscanf(line, format, &value) != 1) {
        }
        std::fclose(status);
    }
    return value;
}

}  // namespace

TEST_CASE("a token file has each file's ids, for any number of threads and size of blocks") {
    TemporaryFolder folder;
    const Tokenizer tokenizer = small_tokenizer();
    std::vector<std::string> paths;
    std::vector<TokenId> plain, separated;
    const TokenId end = tokenizer.token_id("<|end|>").value();
    for (std::uint32_t i = 0; i < 12; ++i) {
        const std::string text = mixed_text(i, i == 3 ? 0 : 40 * static_cast<int>(i));
        paths.push_back(folder / ("text-" + std::to_string(i)));
        write_file(paths.back(), text);
        separated.push_back(end);
        for (const TokenId id : tokenizer.encode_ids(text)) {
            plain.push_back(id);
            separated.push_back(id);
        }
    }
    for (const int threads : {1, 2, 3}) {
        const support::WithThreads with(threads);
        for (const std::size_t block_size : {0, 1, 2, 3, 7, 64, 1000, 1 << 20}) {
            INFO(threads, " threads, blocks of ", block_size);
            const EncodedFiles done =
                encode_files(tokenizer, paths, folder / "tokens", {.block_size = block_size});
            CHECK(tokens_in<std::uint16_t>(folder / "tokens") == plain);
            CHECK(done.tokens == static_cast<std::int64_t>(plain.size()));
            CHECK(done.token_size == 2);
            encode_files(tokenizer, paths, folder / "tokens", {.before_each = end, .block_size = block_size});
            CHECK(tokens_in<std::uint16_t>(folder / "tokens") == separated);
        }
    }
}

TEST_CASE("wherever a text may be cut, its parts have the tokens of the whole") {
    const Tokenizer tokenizer = small_tokenizer();
    const detail::SpecialTokenFinder finder(special_tokens);
    const detail::PartEncoder encoder(tokenizer, true);
    int cuts = 0, encoder_cuts = 0;
    for (std::uint32_t seed = 100; seed < 400; ++seed) {
        const std::string text = mixed_text(seed, 30);
        const std::vector<TokenId> whole = tokenizer.encode_ids(text);
        for (std::size_t shown = 1; shown <= text.size(); ++shown) {
            const std::string_view known = std::string_view(text).substr(0, shown);
            if (const std::size_t cut = encoder.last_cut(known); cut > 0) {
                ++encoder_cuts;
                std::vector<TokenId> parts = encoder.encode(known.substr(0, cut), true, false);
                const std::vector<TokenId> rest =
                    encoder.encode(std::string_view(text).substr(cut), false, true);
                parts.insert(parts.end(), rest.begin(), rest.end());
                REQUIRE(parts == whole);
            }
            const std::size_t cut = detail::last_safe_cut(known, finder);
            if (cut == 0) continue;
            ++cuts;
            std::vector<TokenId> parts = tokenizer.encode_ids(std::string_view(text).substr(0, cut));
            const std::vector<TokenId> rest = tokenizer.encode_ids(std::string_view(text).substr(cut));
            parts.insert(parts.end(), rest.begin(), rest.end());
            REQUIRE(parts == whole);
        }
    }
    CHECK(cuts > 10'000);
    CHECK(encoder_cuts > 10'000);
}

TEST_CASE("a vocabulary beyond 65536 tokens takes four bytes each") {
    TemporaryFolder folder;
    std::vector<std::string> vocabulary;
    for (int byte = 0; byte < 256; ++byte) vocabulary.emplace_back(1, static_cast<char>(byte));
    for (int i = 0; i < 65280; ++i) vocabulary.push_back("unused " + std::to_string(i));
    write_file(folder / "text", "ab <|end|>");
    const std::vector<std::string> paths = {folder / "text"};
    const Tokenizer fits(byte_pair_parts(vocabulary, {}));
    CHECK(fits.vocabulary_size() == 65536);
    CHECK(encode_files(fits, paths, folder / "tokens").token_size == 2);
    const Tokenizer wide(byte_pair_parts(vocabulary, {}, std::vector<std::string>{"<|end|>"}));
    CHECK(encode_files(wide, paths, folder / "tokens").token_size == 4);
    CHECK(tokens_in<std::uint32_t>(folder / "tokens") == std::vector<TokenId>{'a', 'b', ' ', 65536});
}

TEST_CASE("memory does not grow with the texts") {
    TemporaryFolder folder;
    const Tokenizer tokenizer = small_tokenizer();
    std::string text = mixed_text(1, 200'000);
    {
        std::FILE* file = std::fopen((folder / "text").c_str(), "wb");
        REQUIRE(file);
        for (int i = 0; i < 40; ++i) std::fwrite(text.data(), 1, text.size(), file);
        std::fclose(file);
    }
    text = std::string();
    const std::vector<std::string> paths = {folder / "text"};
    const auto peak_growth = [&] {
        std::FILE* reset = std::fopen("/proc/self/clear_refs", "w");
        const bool was_reset = reset && std::fputs("5", reset) > 0 && std::fclose(reset) == 0;
        const long before = status_kilobytes("VmRSS: %ld");
        const EncodedFiles done = encode_files(tokenizer, paths, folder / "tokens", {.block_size = 1 << 16});
        CHECK(done.bytes > 20'000'000);
        return was_reset ? status_kilobytes("VmHWM: %ld") - before : 0;
    };
    // What threads remember of pieces is allocated once, when each of them first has a part.
    long least = peak_growth();
    for (int i = 0; i < 4 && !keeps_what_is_freed; ++i) least = std::min(least, peak_growth());
    CHECK((least < 4096 || keeps_what_is_freed));
}

TEST_CASE("a file that cannot be read leaves the token file as it was") {
    TemporaryFolder folder;
    const Tokenizer tokenizer = small_tokenizer();
    write_file(folder / "text", "the cat");
    write_file(folder / "tokens", "old");
    const auto message = [&](const std::string& path, const std::string& to) {
        return thrown_message([&] {
            encode_files(tokenizer, std::vector<std::string>{folder / "text", path}, to);
        });
    };
    check_mentions(message(folder / "absent", folder / "tokens"), {"absent", "No such file"});
    check_mentions(message(folder.path(), folder / "tokens"), {"expected a regular file", "folder"});
    check_mentions(message(folder / "text", folder / "text/tokens"), {"text/tokens"});
    CHECK(read_file(folder / "tokens") == "old");
    CHECK(folder.names().size() == 2);
    CHECK_THROWS_AS(encode_files(tokenizer, {}, folder / "tokens", {.before_each = 100'000}), Error);
}
