// The side of compare_peers.py that encodes and decodes by this library:
//
//     compare_peers TOKENIZER [--ordinary] [--plain] [--pair] [--unpadded]
//
// Reads batches from standard input, each a count and so many texts, and answers each on standard output: the
// size of the answer in 64 bits, and the answers to its texts. All other numbers are of 32 bits; the low byte
// is first; a text is its size in bytes and its bytes. The answer to a text is the number of its tokens,
// their ids, begins, ends (in characters), type ids, special mask and attention mask, and two texts: the
// tokens decoded, and decoded without the special ones. In place of a number of tokens, 0xFFFFFFFF comes
// before the text of an error.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/read_tokenizer.hpp"
#include "tenon/tokenizer/stream.hpp"
#include "tenon/tokenizer/tokenizer.hpp"

namespace {

class Channel {
public:
    bool read(std::uint32_t& number) {
        unsigned char bytes[4];
        const std::size_t size = std::fread(bytes, 1, 4, stdin);
        if (size == 0) return false;
        if (size < 4) throw std::runtime_error("expected a number of four bytes, got the end of the input");
        number = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
        return true;
    }

    std::string read_text() {
        std::uint32_t size = 0;
        if (!read(size)) throw std::runtime_error("expected a text, got the end of the input");
        std::string text(size, '\0');
        if (std::fread(text.data(), 1, size, stdin) < size)
            throw std::runtime_error("expected " + std::to_string(size) + " bytes, got the end of the input");
        return text;
    }

    void write(std::uint32_t number) {
        for (int shift = 0; shift < 32; shift += 8) output_ += static_cast<char>(number >> shift & 0xFF);
    }

    void write(std::string_view text) {
        write(static_cast<std::uint32_t>(text.size()));
        output_ += text;
    }

    void flush() {
        const std::uint64_t size = output_.size();
        for (int shift = 0; shift < 64; shift += 8)
            std::fputc(static_cast<int>(size >> shift & 0xFF), stdout);
        std::fwrite(output_.data(), 1, output_.size(), stdout);
        std::fflush(stdout);
        output_.clear();
    }

private:
    std::string output_;
};

/// The number of characters that begin before each byte of a text, and before its end.
std::vector<std::uint32_t> characters_before(std::string_view text) {
    std::vector<std::uint32_t> counts(1, 0);
    for (const char byte : text) counts.push_back(counts.back() + ((byte & 0xC0) != 0x80));
    return counts;
}

/// A text's ids from a stream, which has ended the texts before, and gets it in parts.
std::vector<tenon::TokenId> stream_ids(tenon::StreamEncoder& stream, std::string_view text) {
    std::vector<tenon::TokenId> ids;
    const auto append = [&](tenon::TokenId id) { ids.push_back(id); };
    for (std::size_t begin = 0; begin < text.size(); begin += 1000)
        stream.push(text.substr(begin, 1000), append);
    stream.finish(append);
    return ids;
}

void answer(Channel& channel, const tenon::Tokenizer& tokenizer, const tenon::EncodeOptions& options,
            tenon::StreamEncoder& stream, bool is_pair, std::string_view first, std::string_view second) {
    tenon::Encoding encoding;
    std::string text, text_without_special;
    try {
        if (is_pair) {
            encoding = tokenizer.encode_pair(first, second, options);
        } else {
            encoding = tokenizer.encode(first, options);
            if (tokenizer.encode_ids(first, options) != encoding.ids)
                throw tenon::Error("encode_ids and encode differ");
            const bool is_changed = tokenizer.truncation() || tokenizer.padding();
            if (!is_changed && stream_ids(stream, first) != encoding.ids)
                throw tenon::Error("StreamEncoder and encode differ");
        }
        text = tokenizer.decode(encoding.ids);
        text_without_special = tokenizer.decode(encoding.ids, {.skip_special_tokens = true});
    } catch (const tenon::Error& error) {
        channel.write(0xFFFFFFFF);
        channel.write(error.what());
        return;
    }
    const std::vector<std::uint32_t> counts[] = {characters_before(first), characters_before(second)};
    // The template need not say whose text an offset is in; as far as these tokenizers go, type ids do.
    const auto counts_of = [&](std::size_t token) -> const std::vector<std::uint32_t>& {
        return counts[is_pair && encoding.type_ids[token] == 1];
    };
    channel.write(static_cast<std::uint32_t>(encoding.ids.size()));
    for (const tenon::TokenId id : encoding.ids) channel.write(id);
    for (std::size_t i = 0; i < encoding.ids.size(); ++i)
        channel.write(counts_of(i)[encoding.offsets[i].begin]);
    for (std::size_t i = 0; i < encoding.ids.size(); ++i)
        channel.write(counts_of(i)[encoding.offsets[i].end]);
    for (const std::uint32_t type_id : encoding.type_ids) channel.write(type_id);
    for (const std::uint8_t is_special : encoding.special_mask) channel.write(is_special);
    for (const std::uint8_t is_seen : encoding.attention_mask) channel.write(is_seen);
    channel.write(text);
    channel.write(text_without_special);
}

int run(int count, char** arguments) {
    if (count < 2) throw std::runtime_error("expected the path of a tokenizer");
    tenon::EncodeOptions options;
    bool is_pair = false, is_unpadded = false;
    for (int i = 2; i < count; ++i) {
        const std::string_view option = arguments[i];
        if (option == "--ordinary") {
            options.special_tokens = tenon::SpecialTokens::ordinary;
        } else if (option == "--plain") {
            options.add_special_tokens = false;
        } else if (option == "--pair") {
            is_pair = true;
        } else if (option == "--unpadded") {
            is_unpadded = true;
        } else {
            throw std::runtime_error("expected --ordinary, --plain, --pair or --unpadded, got " +
                                     std::string(option));
        }
    }
    tenon::Tokenizer tokenizer = tenon::Tokenizer::load(arguments[1]);
    if (is_unpadded)
        tokenizer = std::move(tokenizer).with_padding(std::nullopt).with_truncation(std::nullopt);
    tenon::StreamEncoder stream(tokenizer, options);
    Channel channel;
    for (std::uint32_t size = 0; channel.read(size);) {
        std::vector<std::string> texts;
        for (std::uint32_t i = 0; i < size; ++i) texts.push_back(channel.read_text());
        if (!is_pair) {
            for (const std::string& text : texts)
                answer(channel, tokenizer, options, stream, false, text, "");
        } else {
            for (std::size_t i = 0; i < texts.size(); i += 2)
                answer(channel, tokenizer, options, stream, true, texts[i], texts[i + 1]);
        }
        channel.flush();
    }
    return EXIT_SUCCESS;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        return run(count, arguments);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "compare_peers: %s\n", error.what());
        return EXIT_FAILURE;
    }
}
