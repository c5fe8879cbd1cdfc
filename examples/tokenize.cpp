// Trains GPT-2's kind of tokenizer on text files, encodes text into ids, and decodes ids into text.

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "tenon/core/error.hpp"
#include "tenon/data/encode_files.hpp"
#include "tenon/tokenizer.hpp"
#include "tenon/training/progress.hpp"

namespace {

const char* const usage =
    "tokenize train TEXT... --out FOLDER [--vocabulary SIZE] [--special TOKEN]... [--minimum-count COUNT]\n"
    "                [--ties bytes|ids]\n"
    "       tokenize encode --tokenizer FOLDER < TEXT > IDS\n"
    "       tokenize encode --tokenizer FOLDER --out TOKENS [--before-each TOKEN] TEXT...\n"
    "       tokenize decode --tokenizer FOLDER < IDS > TEXT";

/// Calls use(part) for the parts of a stream, in order.
template <class Use>
void for_each_part(std::FILE* stream, const std::string& name, Use&& use) {
    std::vector<char> buffer(std::size_t{1} << 16);
    while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), stream)) {
        use(std::string_view(buffer.data(), size));
    }
    if (std::ferror(stream)) throw tenon::FileError(name + ": reading failed");
}

std::int64_t size_of(const std::string& path) {
    std::size_t size = 0;
    tenon::detail::FileDescriptor file(tenon::detail::open_regular_file(path, size));
    return static_cast<std::int64_t>(size);
}

std::string throughput(std::int64_t bytes, std::chrono::steady_clock::time_point start) {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    char text[32];
    std::snprintf(text, sizeof text, "%.1f MB/s", static_cast<double>(bytes) * 1e-6 / elapsed.count());
    return text;
}

void train(int count, char** values) {
    const Arguments arguments(
        count, values, usage,
        {{"--out", "FOLDER", "where vocab.json and merges.txt go"},
         {"--vocabulary", "SIZE", "tokens in all, bytes and special ones included (10000)"},
         {"--special", "TOKEN", "a token that is never cut or merged; may come several times"},
         {"--minimum-count", "COUNT", "pairs that come less often are not merged (1)"},
         {"--ties", "RULE",
          "which of equally frequent pairs comes first: bytes (the greater) or ids (the lower)"}});
    const std::vector<std::string>& paths = arguments.positional(1);
    const std::string folder = arguments.text("--out");
    const std::vector<std::string> special_tokens = arguments.all("--special");
    const auto smallest = static_cast<std::int64_t>(256 + special_tokens.size());
    const std::int64_t size = arguments.integer("--vocabulary", 10000, smallest);

    tenon::BytePairTrainingOptions options;
    options.minimum_count = static_cast<std::uint64_t>(arguments.integer("--minimum-count", 1, 1));
    const std::string ties = arguments.text("--ties", "bytes");
    if (ties != "bytes" && ties != "ids")
        arguments.fail("expected --ties to be bytes or ids, got \"" + ties + "\"");
    if (ties == "ids") options.ties = tenon::MergeTies::lower_ids;

    std::int64_t total = 0;
    for (const std::string& path : paths) total += size_of(path);
    tenon::BytePairTrainer trainer(special_tokens);
    {
        tenon::Progress progress(total, "reading");
        const auto start = std::chrono::steady_clock::now();
        trainer.read(paths, [&](std::int64_t done) { progress.update(done, 0, throughput(done, start)); });
    }
    tenon::Progress progress(size, "merging");
    const tenon::Tokenizer tokenizer = trainer.train(
        static_cast<std::size_t>(size),
        [&](std::size_t tokens, std::size_t) { progress.update(static_cast<std::int64_t>(tokens), 0); },
        options);
    progress.finish();
    tenon::write_gpt2_files(tokenizer, folder);
    std::fprintf(stderr, "wrote %zu tokens to %s\n", tokenizer.vocabulary_size(), folder.c_str());
}

constexpr Flag tokenizer_flag{"--tokenizer", "FOLDER", "where vocab.json and merges.txt are"};

void write(std::string_view bytes) { std::fwrite(bytes.data(), 1, bytes.size(), stdout); }

void encode_stream(const tenon::Tokenizer& tokenizer) {
    tenon::StreamEncoder encoder(tokenizer);
    std::string_view separator = "";
    const auto write_id = [&](tenon::TokenId id) {
        write(separator);
        write(std::to_string(id));
        separator = " ";
    };
    for_each_part(stdin, "standard input", [&](std::string_view text) { encoder.push(text, write_id); });
    encoder.finish(write_id);
    write("\n");
}

/// Writes a token file, on all cores.
void encode_texts(const tenon::Tokenizer& tokenizer, const Arguments& arguments) {
    tenon::EncodeFilesOptions options;
    if (arguments.has("--before-each")) {
        options.before_each = tokenizer.token_id(arguments.text("--before-each"));
        if (!options.before_each)
            arguments.fail("expected --before-each to be a token of the vocabulary, got \"" +
                           arguments.text("--before-each") + "\"");
    }
    const std::vector<std::string>& paths = arguments.positional(1);
    std::int64_t total = 0;
    for (const std::string& path : paths) total += size_of(path);
    tenon::Progress progress(total, "encoding");
    const auto start = std::chrono::steady_clock::now();
    const tenon::EncodedFiles done = tenon::encode_files(
        tokenizer, paths, arguments.text("--out"), options, [&](const tenon::EncodedFiles& now) {
            progress.update(now.bytes, now.tokens, throughput(now.bytes, start));
        });
    progress.finish();
    std::fprintf(stderr, "wrote %lld tokens of %d bytes to %s\n", static_cast<long long>(done.tokens),
                 done.token_size, arguments.text("--out").c_str());
}

void encode(int count, char** values) {
    const Arguments arguments(
        count, values, usage,
        {tokenizer_flag,
         {"--out", "TOKENS", "a file of tokens of two bytes, or four, to be made of texts"},
         {"--before-each", "TOKEN", "a token that goes before each text's"}});
    const auto tokenizer = tenon::Tokenizer::load(arguments.text("--tokenizer"));
    if (arguments.has("--out")) return encode_texts(tokenizer, arguments);
    arguments.positional(0, 0);
    encode_stream(tokenizer);
}

void decode(int count, char** values) {
    const Arguments arguments(count, values, usage, {tokenizer_flag});
    arguments.positional(0, 0);
    const auto tokenizer = tenon::Tokenizer::load(arguments.text("--tokenizer"));
    std::string word;
    std::size_t offset = 0;
    const auto write_token = [&] {
        if (word.empty()) return;
        tenon::TokenId id = 0;
        const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
        if (error != std::errc() || end != word.data() + word.size() || id >= tokenizer.vocabulary_size()) {
            throw tenon::FileError("standard input: expected a token id below " +
                                   std::to_string(tokenizer.vocabulary_size()) + ", found \"" + word +
                                   "\" before offset " + std::to_string(offset));
        }
        write(tokenizer.token_bytes(id));
        word.clear();
    };
    for_each_part(stdin, "standard input", [&](std::string_view text) {
        for (const char character : text) {
            // No id is that long: of a longer word the beginning will do for the message.
            if (std::string_view(" \t\r\n").find(character) == std::string_view::npos) {
                if (word.size() == 32) word += "...";
                if (word.size() < 32) word += character;
            } else {
                write_token();
            }
            ++offset;
        }
    });
    write_token();
}

}  // namespace

int main(int count, char** values) {
    return run_program([&] {
        const std::string_view command = count > 1 ? values[1] : "";
        if (command == "train") return train(count - 1, values + 1);
        if (command == "encode") return encode(count - 1, values + 1);
        if (command == "decode") return decode(count - 1, values + 1);
        const Arguments arguments(count, values, usage, {});
        arguments.fail("expected one of train, encode and decode");
    });
}
