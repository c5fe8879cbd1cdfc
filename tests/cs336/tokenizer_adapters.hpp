#pragma once

#include <string>
#include <utility>
#include <vector>

#include <tenon/io/file.hpp>
#include <tenon/tokenizer.hpp>

/// The adapters of the tokenizer, which needs no tensors.
namespace cs336 {

using namespace tenon;

/// Vocabulary and merges, both in the tokenizer.
inline BytePairTokenizer run_train_bpe(const std::string& input_path, std::size_t vocabulary_size,
                                       std::vector<std::string> special_tokens) {
    return train_byte_pair_tokenizer(read_file(input_path), vocabulary_size, std::move(special_tokens));
}

inline BytePairTokenizer get_tokenizer(const std::vector<std::string>& vocabulary,
                                       const std::vector<BytePairTokenizer::Merge>& merges,
                                       const std::vector<std::string>& special_tokens = {}) {
    return BytePairTokenizer(vocabulary, merges, special_tokens);
}

/// Calls sink(id) for each id of a text that comes in parts.
template <class Parts, class Sink>
void encode_iterable(const BytePairTokenizer& tokenizer, const Parts& parts, Sink&& sink) {
    StreamEncoder encoder(tokenizer);
    for (const auto& part : parts) encoder.push(part, sink);
    encoder.finish(sink);
}

}  // namespace cs336
