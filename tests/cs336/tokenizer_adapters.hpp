#pragma once

#include <string>
#include <utility>
#include <vector>

#include <tenon/io/file.hpp>
#include <tenon/tokenizer/stream.hpp>
#include <tenon/tokenizer/tokenizer.hpp>
#include <tenon/tokenizer/train.hpp>
#include <tenon/tokenizer/vocabulary_files.hpp>
#include <tenon/tokenizer/write_vocabulary_files.hpp>

/// The adapters of the tokenizer, which needs no tensors.
namespace cs336 {

using namespace tenon;

/// Vocabulary and merges, both in the tokenizer.
inline Tokenizer run_train_bpe(const std::string& input_path, std::size_t vocabulary_size,
                               std::vector<std::string> special_tokens) {
    return train_byte_pair_tokenizer(read_file(input_path), vocabulary_size, std::move(special_tokens));
}

inline Tokenizer get_tokenizer(const std::vector<std::string>& vocabulary,
                               const std::vector<std::pair<std::string, std::string>>& merges,
                               const std::vector<std::string>& special_tokens = {}) {
    return Tokenizer(byte_pair_parts(vocabulary, merges, special_tokens));
}

/// Calls sink(id) for each id of a text that comes in parts.
template <class Parts, class Sink>
void encode_iterable(const Tokenizer& tokenizer, const Parts& parts, Sink&& sink) {
    StreamEncoder encoder(tokenizer);
    for (const auto& part : parts) encoder.push(part, sink);
    encoder.finish(sink);
}

}  // namespace cs336
