#pragma once

#include <span>
#include <vector>

#include <tenon/inference/cache.hpp>
#include <tenon/inference/sampling.hpp>

namespace tenon {

/// Writes on after a prompt, one token at a time, with a key-value cache. Equal seeds give equal tokens.
///
///     Generator generator(model, {.temperature = 0.8}, seed(1));
///     generator.feed(prompt);
///     for (int i = 0; i < 100; ++i) print(generator.next());
///
/// Where the model's context is full, its older half is forgotten.
template <class Model>
class Generator {
public:
    /// The model must outlive the generator. Throws Error where the options are out of range.
    explicit Generator(const Model& model, SamplingOptions options = {}, Seed seed = {})
        : model_(model), options_(options), random_(seed), cache_(model) {
        require_valid(options);
        history_.reserve(static_cast<std::size_t>(cache_.capacity()));
    }

    /// Appends tokens to what the next one will follow.
    void feed(std::span<const std::int32_t> tokens) {
        for (std::int32_t token : tokens) {
            if (history_.size() == static_cast<std::size_t>(cache_.capacity())) forget();
            history_.push_back(token);
        }
    }

    /// Draws the next token, and feeds it. Throws Error where there is nothing to follow yet.
    std::int32_t next();

private:
    void forget() {
        const std::ptrdiff_t kept = static_cast<std::ptrdiff_t>(history_.size() / 2);
        history_.erase(history_.begin(), history_.end() - kept);
        cache_.truncate();
    }

    const Model& model_;
    SamplingOptions options_;
    Philox random_;
    KeyValueCache<Model> cache_;
    std::vector<std::int32_t> history_;  // the tokens in the context; the cache holds the first of them
    std::int64_t drawn_ = 0;
};

// Outside of the class, so that `extern template class Generator<…>` keeps it from being compiled again.
template <class Model>
std::int32_t Generator<Model>::next() {
    if (history_.empty()) throw Error("generator: expected a prompt of at least one token, got none");
    const int begin = cache_.length(), end = static_cast<int>(history_.size());
    const auto ids = Tensor<std::int32_t, Shape<1, dyn>>::borrow(
        std::span(history_).subspan(static_cast<std::size_t>(begin)), end - begin);
    const Tensor logits = model_(ids, cache_).last().tensor();
    const std::int32_t token = sample(logits.data(), logits.extents()[2], options_,
                                      random_.uniform(static_cast<std::uint64_t>(drawn_++)));
    feed({&token, 1});
    return token;
}

}  // namespace tenon
