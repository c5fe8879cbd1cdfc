// CS336's tokenizer against tiktoken with the same merges.

#include <algorithm>
#include <malloc.h>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "tokenizer_values.hpp"

using namespace cs336;

TEST_CASE("encode gives tiktoken's ids, and decode gives the text back") {
    const Tokenizer tokenizer = reference_tokenizer();
    for (const std::string& name : text_names) {
        CAPTURE(name);
        const std::string sample = text("text." + name);
        const std::vector<TokenId> encoded = tokenizer.encode_ids(sample);
        CHECK(encoded == ids("ours." + name));
        CHECK(tokenizer.decode_bytes(encoded) == sample);
        CHECK(tokenizer.decode(encoded) == sample);
    }
}

TEST_CASE("of special tokens that overlap the longest counts") {
    const Tokenizer tokenizer = reference_tokenizer({end_of_text, end_of_text + end_of_text});
    const std::string sample = text("text.overlapping");
    CHECK(tokenizer.encode_ids(sample) == ids("ours.overlapping"));
    CHECK(tokenizer.decode(ids("ours.overlapping")) == sample);
}

TEST_CASE("without special tokens their text is text") {
    const Tokenizer tokenizer = reference_tokenizer({});
    const std::string sample = text("text.special");
    CHECK(tokenizer.encode_ids(sample).size() > ids("ours.special").size());
    CHECK(tokenizer.decode(tokenizer.encode_ids(sample)) == sample);
}

TEST_CASE("decode shows bytes that are no UTF-8 as U+FFFD") {
    const Tokenizer tokenizer = reference_tokenizer();
    CHECK(tokenizer.decode(std::vector<TokenId>{'a', 0xc3, 'b', 0xff}) ==
          "a\xEF\xBF\xBD"
          "b\xEF\xBF\xBD");
}

TEST_CASE("encode_iterable gives encode's ids, wherever the text is cut") {
    const Tokenizer tokenizer = reference_tokenizer();
    for (const std::string& name : text_names)
        for (const std::size_t size : {1, 3, 100}) {
            CAPTURE(name);
            CAPTURE(size);
            const std::string sample = text("text." + name);
            std::vector<std::string> parts;
            for (std::size_t at = 0; at < sample.size(); at += size) parts.push_back(sample.substr(at, size));
            std::vector<TokenId> encoded;
            encode_iterable(tokenizer, parts, [&](TokenId id) { encoded.push_back(id); });
            CHECK(encoded == ids("ours." + name));
        }
}

TEST_CASE("encode_iterable takes 5 MB of text in 1 MB of memory") {
    const Tokenizer tokenizer = reference_tokenizer();
    const std::string part = text("text.story");
    const std::size_t count = 5'000'000 / part.size() + 1;
    const auto in_use = [] {
        const struct mallinfo2 now = ::mallinfo2();
        return now.uordblks + now.hblkhd;
    };
    const std::vector<std::string_view> parts(count, part);
    const std::size_t before = in_use();
    std::size_t ids_seen = 0, most = before;
    encode_iterable(tokenizer, parts, [&](TokenId) {
        if (++ids_seen % 4096 == 0) most = std::max(most, in_use());
    });
    CHECK(ids_seen == count * ids("ours.story").size());
    // A sanitizer's malloc counts nothing.
    CHECK(most - before < 1'000'000);
}
