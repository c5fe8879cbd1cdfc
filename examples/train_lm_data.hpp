#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <tenon/io/atomic_file.hpp>
#include <tenon/io/checksum.hpp>
#include <tenon/io/token_file.hpp>
#include <tenon/tokenizer/tokenizer.hpp>
#include <tenon/tokenizer/train.hpp>
#include <tenon/tokenizer/vocabulary_files.hpp>
#include <tenon/tokenizer/write_vocabulary_files.hpp>

#include "learner.hpp"
#include "texts.hpp"
#include "train_lm_options.hpp"

/// The checksum of a text, or of tokens.
template <class Items>
std::string checksum_of(const Items& items) {
    return std::to_string(tenon::checksum(std::as_bytes(std::span(items))));
}

/// One of the texts that are learned.
struct TrainingCorpus {
    std::string text_checksum;
    tenon::TokenFile<Token> file;
    double weight;
};

/// What is learned, and what it is judged by.
struct Data {
    tenon::Tokenizer tokenizer;
    std::vector<TrainingCorpus> corpora;
    tenon::TokenFile<Token> held_out;
    std::string training_text, held_out_text;
};

/// Encodes texts into a token file, an end token before each: every token that stands for bytes has one to
/// follow.
inline void write_tokens(const tenon::Tokenizer& tokenizer, const std::vector<std::string>& texts,
                         const std::string& path) {
    const tenon::TokenId end = tokenizer.token_id(end_of_text).value();
    tenon::TokenFileWriter<Token> writer(path);
    for (const std::string& text : texts) {
        writer.append(std::span(&end, 1));
        writer.append(std::span<const tenon::TokenId>(tokenizer.encode_ids(text)));
    }
    writer.commit();
}

/// Reads the texts, trains a tokenizer on them, and writes their tokens into the folder. A run that is
/// `taken_up` finds tokenizer and tokens there.
inline Data prepare_data(const Options& options, std::size_t vocabulary, bool taken_up) {
    std::vector<Texts> corpora;
    std::vector<std::string> held_out_texts, checksums;
    std::string training_text;
    for (const auto& [paths, weight] : options.corpora) {
        corpora.push_back(read_texts(paths));
        const std::string text = joined(corpora.back().training);
        checksums.push_back(checksum_of(text));
        training_text += text;
        for (const std::string& text : corpora.back().held_out) held_out_texts.push_back(text);
    }
    const std::string held_out_text = joined(held_out_texts);
    if (training_text.size() < 10'000 || held_out_text.size() < 100)
        throw tenon::Error("expected a text of at least 11 kB, got " + std::to_string(training_text.size()) +
                           " bytes to train on and " + std::to_string(held_out_text.size()) + " held out");
    std::printf("text: %.2f MB to train on, %.2f MB held out\n",
                static_cast<double>(training_text.size()) / 1e6,
                static_cast<double>(held_out_text.size()) / 1e6);

    const std::string& folder = options.folder;
    tenon::Tokenizer tokenizer =
        taken_up ? tenon::Tokenizer(tenon::read_gpt2_files(folder))
                 : tenon::train_byte_pair_tokenizer(training_text, vocabulary, {end_of_text});
    if (!taken_up) {
        tenon::create_folder(folder);
        // An earlier model is not this tokenizer's: without its configuration it is none.
        tenon::remove_file(folder + "/config.json");
        tenon::write_gpt2_files(tokenizer, folder);
        write_tokens(tokenizer, held_out_texts, options.held_out_path());
    }
    std::vector<TrainingCorpus> training;
    std::size_t token_count = 0;
    for (std::size_t i = 0; i < corpora.size(); ++i) {
        const std::string path = options.corpus_path(i);
        if (!taken_up) write_tokens(tokenizer, corpora[i].training, path);
        training.push_back({checksums[i], tenon::TokenFile<Token>(path), options.corpora[i].second});
        token_count += training.back().file.size();
    }
    std::printf("tokenizer: %zu entries, %.2f bytes a token\n", tokenizer.vocabulary_size(),
                static_cast<double>(training_text.size()) / static_cast<double>(token_count));
    return {std::move(tokenizer), std::move(training), tenon::TokenFile<Token>(options.held_out_path()),
            std::move(training_text), held_out_text};
}
