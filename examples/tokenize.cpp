// Trains a tokenizer, encodes text into ids, decodes ids into text, and shows what tokenizers do. It reads
// the tokenizers of Hugging Face, tiktoken, GPT-2, SentencePiece and GGUF.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "tenon/data/encode_files.hpp"
#include "tenon/tokenizer.hpp"
#include "tenon/training/progress.hpp"
#include "tokenize_files.hpp"
#include "tokenize_inspect.hpp"

namespace {

const char* const usage =
    "tokenize train TEXT... --out FOLDER [--vocabulary SIZE] [--special TOKEN]... [--minimum-count COUNT]\n"
    "                [--ties bytes|ids]\n"
    "       tokenize encode --tokenizer PATH [TEXT...] [--out FILE] [--ids text|binary] [--before-each "
    "TOKEN]\n"
    "                [--special recognized|ordinary|refused] [--plain]\n"
    "       tokenize decode --tokenizer PATH [IDS...] [--out FILE] [--ids text|binary] [--skip-special]\n"
    "       tokenize inspect --tokenizer PATH [SENTENCE...] [--colour auto|always|never] [--list]\n"
    "       tokenize compare --tokenizer PATH --tokenizer PATH... TEXT...";

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
    if (arguments.one_of("--ties", {"bytes", "ids"}) == "ids") options.ties = tenon::MergeTies::lower_ids;

    tenon::BytePairTrainer trainer(special_tokens);
    {
        tenon::Progress progress(Input(paths, "reading").total(), "reading");
        const auto start = std::chrono::steady_clock::now();
        trainer.read(paths,
                     [&](std::int64_t done) { progress.update(done, 0, Input::throughput(done, start)); });
    }
    tenon::Progress progress(size, "merging");
    const tenon::Tokenizer tokenizer = trainer.train(
        static_cast<std::size_t>(size),
        [&](std::size_t tokens, std::size_t) { progress.update(static_cast<std::int64_t>(tokens), 0); },
        options);
    progress.finish();
    tenon::write_gpt2_files(tokenizer, folder);
    std::fprintf(stderr, "wrote %zu tokens, learned from %lu distinct words, to %s\n",
                 tokenizer.vocabulary_size(), static_cast<unsigned long>(trainer.distinct_words()),
                 folder.c_str());
}

constexpr Flag tokenizer_flag{"--tokenizer", "PATH", "a tokenizer's file or folder"};

/// The bytes of a token in a file of ids.
int token_size(const tenon::Tokenizer& tokenizer) { return tokenizer.vocabulary_size() <= 65536 ? 2 : 4; }

/// Writes a token file, on all cores.
void encode_on_all_cores(const tenon::Tokenizer& tokenizer, const std::vector<std::string>& paths,
                         const std::string& to, const tenon::EncodeFilesOptions& options) {
    tenon::Progress progress(Input(paths, "encoding").total(), "encoding");
    const auto start = std::chrono::steady_clock::now();
    const tenon::EncodedFiles done =
        tenon::encode_files(tokenizer, paths, to, options, [&](const tenon::EncodedFiles& now) {
            progress.update(now.bytes, now.tokens, Input::throughput(now.bytes, start));
        });
    progress.finish();
    std::fprintf(stderr, "wrote %lld tokens of %d bytes to %s\n", static_cast<long long>(done.tokens),
                 done.token_size, to.c_str());
}

void encode(int count, char** values) {
    const Arguments arguments(
        count, values, usage,
        {tokenizer_flag,
         {"--out", "FILE", "where the ids go (standard output)"},
         {"--ids", "FORM", "text, or binary: two bytes each, or four (binary in a file, else text)"},
         {"--before-each", "TOKEN", "a token that goes before each text's"},
         {"--special", "HOW", "what special tokens in the text are: recognized, ordinary text, or refused"},
         {"--plain", "", "without the tokens that the tokenizer puts around a text"}});
    const std::vector<std::string>& paths = arguments.positional();
    const std::string to = arguments.text("--out", "");
    const bool is_binary =
        arguments.has("--ids") ? arguments.one_of("--ids", {"text", "binary"}) == "binary" : !to.empty();
    const std::string special = arguments.one_of("--special", {"recognized", "ordinary", "refused"});
    const auto tokenizer = tenon::Tokenizer::load(arguments.text("--tokenizer"));
    std::optional<tenon::TokenId> before_each;
    if (arguments.has("--before-each")) {
        before_each = tokenizer.token_id(arguments.text("--before-each"));
        if (!before_each)
            arguments.fail("expected --before-each to be a token of the vocabulary, got \"" +
                           arguments.text("--before-each") + "\"");
    }
    const bool adds_tokens = !arguments.has("--plain");
    if (is_binary && !to.empty() && !paths.empty() && special == "recognized") {
        return encode_on_all_cores(tokenizer, paths, to,
                                   {.before_each = before_each, .add_special_tokens = adds_tokens});
    }
    tenon::EncodeOptions options{.add_special_tokens = adds_tokens};
    if (special == "ordinary") options.special_tokens = tenon::SpecialTokens::ordinary;
    if (special == "refused") options.special_tokens = tenon::SpecialTokens::refused;
    Output output(to);
    IdWriter write(output, is_binary ? token_size(tokenizer) : 0);
    tenon::StreamEncoder encoder(tokenizer, options);
    bool is_begin = true;
    const auto begin = [&] {
        if (is_begin && before_each) write(*before_each);
        is_begin = false;
    };
    Input(paths, "encoding")
        .read(
            [&](std::string_view text) {
                begin();
                encoder.push(text, write);
            },
            [&] {
                begin();
                encoder.finish(write);
                write.end_text();
                is_begin = true;
            });
    output.finish();
}

void decode(int count, char** values) {
    const Arguments arguments(count, values, usage,
                              {tokenizer_flag,
                               {"--out", "FILE", "where the text goes (standard output)"},
                               {"--ids", "FORM", "text, or binary as encode writes them (text)"},
                               {"--skip-special", "", "leaves special tokens out"}});
    const std::vector<std::string>& paths = arguments.positional();
    const bool is_binary = arguments.one_of("--ids", {"text", "binary"}) == "binary";
    const auto tokenizer = tenon::Tokenizer::load(arguments.text("--tokenizer"));
    const tenon::DecodeOptions options{.skip_special_tokens = arguments.has("--skip-special")};
    Output output(arguments.text("--out", ""));
    tenon::StreamDecoder decoder(tokenizer, options);
    IdReader reader(tokenizer.vocabulary_size(), is_binary ? token_size(tokenizer) : 0,
                    [&](tenon::TokenId id) {
                        // Any bytes survive where tokens are bytes.
                        output.write(tokenizer.decodes_bytes() ? tokenizer.decode_bytes({&id, 1}, options)
                                                               : decoder.push(id));
                    });
    Input(paths, "decoding")
        .read([&](std::string_view part) { reader.push(part); },
              [&] {
                  reader.finish();
                  if (!tokenizer.decodes_bytes()) output.write(decoder.flush());
              });
    output.finish();
}

}  // namespace

int main(int count, char** values) {
    return run_program([&] {
        const std::string_view command = count > 1 ? values[1] : "";
        if (command == "train") return train(count - 1, values + 1);
        if (command == "encode") return encode(count - 1, values + 1);
        if (command == "decode") return decode(count - 1, values + 1);
        if (command == "inspect") return inspect(count - 1, values + 1, usage);
        if (command == "compare") return compare(count - 1, values + 1, usage);
        const Arguments arguments(count, values, usage, {});
        arguments.fail("expected one of train, encode, decode, inspect and compare");
    });
}
