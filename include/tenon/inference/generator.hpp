#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <tenon/core/repeated_work.hpp>
#include <tenon/core/to_device.hpp>
#include <tenon/inference/cache.hpp>
#include <tenon/inference/sampling.hpp>

namespace tenon {

/// Writes on after a prompt, one token at a time, with a key-value cache. Equal seeds give equal tokens.
///
///     Generator generator(model, {.temperature = 0.8}, seed(1));
///     generator.feed(prompt);
///     for (int i = 0; i < 100; ++i) print(generator.next());
///
/// Where the model's context is full, its older half is forgotten. A GPU is given the work of a token as a
/// graph that was captured once, unless the model attends to a window.
template <class Model>
class Generator {
    using Device = typename Model::Device;

public:
    /// The model must outlive the generator. Throws Error where the options are out of range.
    explicit Generator(const Model& model, SamplingOptions options = {}, Seed seed = {})
        : model_(model), options_(options), seed_(seed), cache_(model) {
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
    void draw_after(const Tensor<std::int32_t, Shape<1, dyn>, Device>& ids) { draw(model_(ids, cache_)); }

    /// The same work for each token: what differs stands in the device's memory.
    template <std::same_as<std::int32_t> Token>
    void draw_after(Token last) {
        if (!steady_) steady_.emplace(cache_.steady());
        Memory<Device>::fill(token_.data(), 1, last);
        steady_->place(cache_.length());
        step_([&] { draw(model_(token_, *steady_)); });
        cache_.advance(1);
    }

    template <class L>
    void draw(const L& logits) {
        const auto token = sample(logits.last().tensor(), options_, seed_, drawn_);
        Memory<Device>::copy(static_cast<const std::int32_t*>(token.data()), 1, token_.data());
    }

    void forget() {
        const std::ptrdiff_t kept = static_cast<std::ptrdiff_t>(history_.size() / 2);
        history_.erase(history_.begin(), history_.end() - kept);
        cache_.truncate();
    }

    const Model& model_;
    SamplingOptions options_;
    Seed seed_;
    KeyValueCache<Model> cache_;
    std::vector<std::int32_t> history_;  // the tokens in the context; the cache holds the first of them
    Tensor<std::int64_t, Shape<>, Device> drawn_ = Tensor<std::int64_t, Shape<>, Device>::uninitialized();
    std::int64_t count_ = 0;  // of tokens drawn
    std::optional<typename KeyValueCache<Model>::Steady> steady_;
    Tensor<std::int32_t, Shape<1, 1>, Device> token_ =
        Tensor<std::int32_t, Shape<1, 1>, Device>::uninitialized();
    RepeatedWork<Device> step_;
};

// Outside of the class, so that `extern template class Generator<…>` keeps it from being compiled again.
template <class Model>
std::int32_t Generator<Model>::next() {
    if (history_.empty()) throw Error("generator: expected a prompt of at least one token, got none");
    const int begin = cache_.length(), end = static_cast<int>(history_.size());
    Memory<Device>::fill(drawn_.data(), 1, count_++);
    const auto draw_after_all = [&] {
        const auto ids = Tensor<std::int32_t, Shape<1, dyn>>::borrow(
            std::span(history_).subspan(static_cast<std::size_t>(begin)), end - begin);
        draw_after(to_device<Device>(ids));
    };
    if constexpr (std::same_as<Device, Cpu>)
        draw_after_all();
    else if (begin + 1 == end && model_.sizes.window == 0)
        draw_after(history_.back());
    else
        draw_after_all();
    const std::int32_t token = to_device<Cpu>(token_)(0, 0);
    feed({&token, 1});
    return token;
}

}  // namespace tenon
