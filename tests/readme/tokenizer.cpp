#include <iostream>
#include <string>

#include <tenon/tokenizer.hpp>

int main(int count, char** paths) {
    for (int i = 1; i < count; ++i) {
        const auto tokenizer =
            tenon::Tokenizer::load(paths[i]);  // any of the formats above; FileError says what is wrong
        const tenon::Encoding text = tokenizer.encode("Straße 🙂<|endoftext|>");
        for (std::size_t t = 0; t < text.ids.size(); ++t)
            std::cout << text.ids[t] << " at byte " << text.offsets[t].begin << ", ";
        // Text from outside holds no special tokens.
        const auto ids =
            tokenizer.encode_ids("<|endoftext|>", {.special_tokens = tenon::SpecialTokens::ordinary});
        std::cout << ids.size() << " tokens: " << tokenizer.decode(ids) << "\n";
        tenon::write_tokenizer_json(tokenizer, "tokenizer-" + std::to_string(i) + ".json");
    }
}
