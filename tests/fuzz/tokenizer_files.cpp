// vocab.json and merges.txt of any bytes, a NUL between them: a tokenizer that is accepted gives back what it
// encodes, and is the same after being saved and loaded.
#include <algorithm>
#include <string_view>

#include <tenon/tokenizer/byte_pair_tokenizer.hpp>

#include "folder.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    const std::string_view input = fuzz::text_of(data, size);
    const std::size_t cut = std::min(input.find('\0'), size);
    folder.write("vocab.json", input.substr(0, cut));
    folder.write("merges.txt", input.substr(std::min(cut + 1, size)));
    fuzz::expect_value_or_error([&] {
        const auto tokenizer = tenon::BytePairTokenizer::load(folder.path);
        const auto ids = tokenizer.encode(input);
        fuzz::require(tokenizer.decode(ids) == input, "decoding gives back what was encoded");
        tokenizer.save(folder.path / "saved");
        const auto saved = tenon::BytePairTokenizer::load(folder.path / "saved");
        fuzz::require(saved.encode(input) == ids, "a saved tokenizer is the same");
    });
    return 0;
}
