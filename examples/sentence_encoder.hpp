#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/files.hpp>
#include <tenon/io/load_encoder.hpp>
#include <tenon/io/sentence_options.hpp>
#include <tenon/model/encoder.hpp>
#include <tenon/nn/pooling.hpp>
#include <tenon/tokenizer/read_tokenizer.hpp>
#include <tenon/tokenizer/tokenizer.hpp>

/// Makes embeddings of sentences with an encoder of these features, a tokenizer, and what a folder of
/// sentence-transformers, or a GGUF file, says of pooling.
template <class Device, tenon::Precision P, class Features>
class SentenceEncoder {
public:
    using Model = tenon::Encoder<tenon::DynamicTransformer<Features>, Device, P>;

    /// Throws tenon::FileError for what does not fit together.
    explicit SentenceEncoder(const tenon::SentenceOptions& options)
        : options_(options),
          tokenizer_(tenon::Tokenizer::load(tokenizer_path(options)).with_padding(std::nullopt)),
          model_(tenon::load_encoder<Model>(options.model)) {
        const int context = model_.sizes.context;
        longest_ = options.longest > 0 ? std::min(options.longest, context) : context;
        tokenizer_ = tokenizer_.with_truncation(
            tenon::TruncationOptions{.max_length = static_cast<std::size_t>(longest_)});
        if (tokenizer_.vocabulary_size() > static_cast<std::size_t>(model_.sizes.vocabulary))
            throw tenon::FileError(
                tokenizer_path(options) + ": expected at most " + std::to_string(model_.sizes.vocabulary) +
                " tokens, the model's vocabulary, got " + std::to_string(tokenizer_.vocabulary_size()));
    }

    int width() const { return model_.sizes.width; }
    /// The greatest number of tokens of a sentence; what is beyond is cut off.
    int longest() const { return longest_; }
    /// Those of all sentences since the beginning.
    std::int64_t tokens() const { return tokens_; }

    /// The embeddings of sentences, one row of `width()` each. As many as `batch` go through the model
    /// together, those of like lengths, so that little is padding: it changes no embedding, but takes time.
    std::vector<float> operator()(std::span<const std::string> sentences, std::size_t batch) {
        const std::vector<std::string_view> texts(sentences.begin(), sentences.end());
        const std::vector<std::vector<tenon::TokenId>> ids = tokenizer_.encode_ids_batch(texts);
        std::vector<std::size_t> order(ids.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return ids[a].size() > ids[b].size(); });
        std::vector<float> embeddings(ids.size() * static_cast<std::size_t>(width()));
        for (std::size_t first = 0; first < order.size(); first += batch)
            embed(ids, std::span(order).subspan(first, std::min(batch, order.size() - first)), embeddings);
        return embeddings;
    }

private:
    static std::string tokenizer_path(const tenon::SentenceOptions& options) {
        return options.model.ends_with(".gguf") ? options.model : options.model + "/tokenizer.json";
    }

    /// Embeds those sentences whose numbers are given, the longest first.
    void embed(const std::vector<std::vector<tenon::TokenId>>& ids, std::span<const std::size_t> numbers,
               std::vector<float>& embeddings) {
        using namespace tenon;
        const int rows = static_cast<int>(numbers.size());
        // A tokenizer without a template has nothing for an empty text.
        const int time = std::max(1, static_cast<int>(ids[numbers[0]].size()));
        auto inputs = Tensor<std::int32_t, Shape<dyn, dyn>>::zeros(rows, time);
        auto mask = Tensor<bool, Shape<dyn, dyn>>::filled(false, rows, time);
        for (int row = 0; row < rows; ++row) {
            const std::vector<TokenId>& tokens = ids[numbers[static_cast<std::size_t>(row)]];
            tokens_ += static_cast<std::int64_t>(tokens.size());
            const std::int64_t begin = std::int64_t{row} * time;
            std::copy(tokens.begin(), tokens.end(), inputs.data() + begin);
            std::fill_n(mask.data() + begin, tokens.size(), true);
        }
        const auto device_mask = to_device<Device>(mask);
        const auto states = model_(to_device<Device>(inputs), device_mask);
        Tensor pooled = pool(states, device_mask, options_.pooling);
        if (options_.normalized) pooled = normalized(pooled);
        const auto& here = on_host(pooled);
        const auto columns = static_cast<std::size_t>(width());
        for (std::size_t row = 0; row < numbers.size(); ++row)
            for (std::size_t i = 0; i < columns; ++i)
                embeddings[numbers[row] * columns + i] = convert<float>(here.data()[row * columns + i]);
    }

    tenon::SentenceOptions options_;
    tenon::Tokenizer tokenizer_;
    Model model_;
    int longest_ = 0;
    std::int64_t tokens_ = 0;
};
