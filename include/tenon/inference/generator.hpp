#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <tenon/autograd/tape.hpp>
#include <tenon/core/readback.hpp>
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
/// A model with adapters writes with them, whether or not they are merged. Where the model's context is full,
/// its older half is forgotten. A GPU is given the work of a token, its drawing included, as a graph that was
/// captured once and goes on from what it left: the host launches it and reads the token.
template <class Model>
class Generator {
    using Device = typename Model::Device;

public:
    /// The model must outlive the generator. Throws Error where the options are out of range.
    explicit Generator(const Model& model, SamplingOptions options = {}, Seed seed = {})
        : model_(model), options_(options), seed_(seed), cache_(model) {
        require_valid(options);
        if (!std::same_as<Device, Cpu> && options.repetition_penalty != 1)
            throw Error("generator: expected a repetition penalty of 1 on a GPU, got another");
        history_.reserve(static_cast<std::size_t>(cache_.capacity()));
    }

    /// Appends tokens to what the next one will follow.
    void feed(std::span<const std::int32_t> tokens) {
        for (std::int32_t token : tokens) {
            if (history_.size() == static_cast<std::size_t>(cache_.capacity())) forget();
            history_.push_back(token);
        }
    }

    /// The tokens that the next one will follow.
    std::span<const std::int32_t> tokens() const { return history_; }
    /// How many there is room for.
    int capacity() const { return cache_.capacity(); }

    /// Forgets all tokens but the first `length`, whose keys and values stay.
    void rewind(int length) {
        const int before = static_cast<int>(history_.size());
        if (length >= before) return;
        history_.resize(static_cast<std::size_t>(length));
        // One is left to be run again, for the logits that follow it.
        cache_.truncate(model_.outgrows_cache(length, before) ? 0 : std::max(length - 1, 0));
        drawn_.reset();
    }

    /// Draws the next token, and feeds it. Throws Error where there is nothing to follow yet.
    std::int32_t next();

private:
    void draw_after(const Tensor<std::int32_t, Shape<1, dyn>, Device>& ids) {
        drawn_.reset();
        [[maybe_unused]] const auto pause = without_gradients();
        draw(model_(ids, cache_));
    }

    /// The same work for each token: what differs stands in the device's memory.
    template <std::same_as<std::int32_t> Token>
    void draw_after(Token last) {
        if (!steady_) steady_.emplace(cache_.steady());
        if (last != std::exchange(drawn_, {})) Memory<Device>::fill(token_.data(), 1, last);
        steady_->place(cache_.length());
        [[maybe_unused]] const auto pause = without_gradients();
        step_([&] { draw(model_(token_, *steady_)); });
        cache_.advance(1);
    }

    /// A model that trains, or has adapters, records nothing here.
    static auto without_gradients() {
        if constexpr (Model::is_tracked)
            return Tape::Pause(Tape::current());
        else
            return 0;
    }

    template <class L>
    void draw(const L& logits) {
        const auto last = detach(logits.last().tensor());
        if constexpr (std::same_as<Device, Cpu>)
            penalize(last.data(), static_cast<int>(last.size()), history_, options_.repetition_penalty);
        const auto token = sample(last, options_, seed_, count_);
        Kernel<Sample, Device>::advance(count_.data());
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
    Tensor<std::int64_t, Shape<>, Device> count_ =  // of tokens drawn
        Tensor<std::int64_t, Shape<>, Device>::zeros();
    std::optional<typename KeyValueCache<Model>::Steady> steady_;
    Tensor<std::int32_t, Shape<1, 1>, Device> token_ =  // the last that was drawn, or is to be followed
        Tensor<std::int32_t, Shape<1, 1>, Device>::uninitialized();
    std::optional<std::int32_t> drawn_;  // what the host knows token_ to hold
    Readback<std::int32_t, Device> tokens_;
    RepeatedWork<Device> step_;
};

// Outside of the class, so that `extern template class Generator<…>` keeps it from being compiled again.
template <class Model>
std::int32_t Generator<Model>::next() {
    if (history_.empty()) throw Error("generator: expected a prompt of at least one token, got none");
    const int end = static_cast<int>(history_.size());
    if (model_.outgrows_cache(cache_.length(), end)) cache_.truncate();
    const int begin = cache_.length();
    const auto draw_after_all = [&] {
        const auto ids = Tensor<std::int32_t, Shape<1, dyn>>::borrow(
            std::span(history_).subspan(static_cast<std::size_t>(begin)), end - begin);
        draw_after(to_device<Device>(ids));
    };
    if constexpr (std::same_as<Device, Cpu>)
        draw_after_all();
    else if (begin + 1 == end)
        draw_after(history_.back());
    else
        draw_after_all();
    tokens_.send(token_.data());
    const std::int32_t token = tokens_.take();
    drawn_ = token;
    feed({&token, 1});
    return token;
}

}  // namespace tenon
