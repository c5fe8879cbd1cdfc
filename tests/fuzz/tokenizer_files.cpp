// vocab.json and merges.txt of any bytes, a NUL between them: a tokenizer that is accepted gives back what it
// encodes, and is the same after being saved and loaded.
#include <algorithm>
#include <string_view>

#include <tenon/tokenizer/tokenizer.hpp>
#include <tenon/tokenizer/vocabulary_files.hpp>
#include <tenon/tokenizer/write_vocabulary_files.hpp>

#include "folder.hpp"

const fuzz::Target target("tokenizer_files", [](const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    const std::string_view input = fuzz::text_of(data, size);
    const std::size_t cut = std::min(input.find('\0'), size);
    folder.write("vocab.json", input.substr(0, cut));
    folder.write("merges.txt", input.substr(std::min(cut + 1, size)));
    fuzz::expect_value_or_error([&] {
        const tenon::Tokenizer tokenizer(tenon::read_gpt2_files(folder.path));
        const auto ids = tokenizer.encode_ids(input);
        fuzz::require(tokenizer.decode_bytes(ids) == input, "decoding gives back what was encoded");
        tenon::write_gpt2_files(tokenizer, folder.path / "saved");
        const tenon::Tokenizer saved(tenon::read_gpt2_files(folder.path / "saved"));
        fuzz::require(saved.encode_ids(input) == ids, "a saved tokenizer is the same");
    });
});
