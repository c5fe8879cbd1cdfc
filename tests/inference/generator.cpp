#include "tenon/inference/generator.hpp"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "../nn/model.hpp"

using namespace tenon;
using support::Device;

namespace {

using Static = Transformer<support::Small, Device, F64>;
using Dynamic = Transformer<DynamicTransformer<>, Device, F64>;
using Tokens = std::vector<std::int32_t>;

struct Windowed : support::Small {
    static constexpr int window = 5;
};
struct WindowedAlibi : Windowed {
    static constexpr Positions positions = Positions::alibi;
};

constexpr int context = support::Small::context;
constexpr SamplingOptions greedy{.temperature = 0};

Tokens some_tokens(int count) {
    Tokens tokens;
    for (int i = 0; i < count; ++i) tokens.push_back((i * i + 3 * i + 1) % support::Small::vocabulary);
    return tokens;
}

template <class Model>
Tokens draw(Generator<Model>& generator, int count) {
    Tokens tokens;
    for (int i = 0; i < count; ++i) tokens.push_back(generator.next());
    return tokens;
}

template <class Model>
Tokens draw(const Model& model, const Tokens& prompt, int count, SamplingOptions options = {},
            Seed seed = {}) {
    Generator generator(model, options, seed);
    generator.feed(prompt);
    return draw(generator, count);
}

/// The logits that follow tokens, by one whole pass.
template <class Model>
std::vector<double> last_logits(const Model& model, const Tokens& tokens) {
    const int time = static_cast<int>(tokens.size());
    const Tensor logits = model(Tensor<std::int32_t, Shape<1, dyn>, Device>::from(tokens, time)).tensor();
    return support::values(slice<1>(logits, time - 1, time));
}

/// Appends a token as the generator says it does: where the context is full, its older half is forgotten
/// first.
void append(Tokens& seen, std::int32_t token) {
    if (seen.size() == context) seen.erase(seen.begin(), seen.begin() + context / 2);
    seen.push_back(token);
}

/// Greedy decoding by whole passes.
template <class Model>
Tokens draw_in_passes(const Model& model, const Tokens& prompt, int count) {
    Tokens seen, drawn;
    for (const std::int32_t token : prompt) append(seen, token);
    for (int i = 0; i < count; ++i) {
        const std::vector<double> logits = last_logits(model, seen);
        drawn.push_back(
            static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
        append(seen, drawn.back());
    }
    return drawn;
}

}  // namespace

TEST_CASE("greedy generation equals whole passes, within the context and far beyond it") {
    for (const std::uint64_t number : {1, 2, 3}) {
        const Static model(seed(number));
        const Dynamic open(seed(number), sizes_of<support::Small>());
        for (const int length : {1, 5, context - 1, context}) {
            const Tokens prompt = some_tokens(length), expected = draw_in_passes(model, prompt, 3 * context);
            CHECK(draw(model, prompt, 3 * context, greedy) == expected);
            CHECK(draw(open, prompt, 3 * context, greedy) == expected);
        }
    }
}

TEST_CASE("the same of models that attend to a window, far beyond it") {
    for (const std::uint64_t number : {1, 2, 3}) {
        const Transformer<Windowed, Device, F64> model(seed(number));
        const Dynamic open(seed(number), sizes_of<Windowed>());
        const Transformer<WindowedAlibi, Device, F64> alibi(seed(number));
        for (const int length : {1, Windowed::window, Windowed::window + 1, context - 1, context}) {
            const Tokens prompt = some_tokens(length), expected = draw_in_passes(model, prompt, 3 * context);
            CHECK(draw(model, prompt, 3 * context, greedy) == expected);
            CHECK(draw(open, prompt, 3 * context, greedy) == expected);
            CHECK(draw(alibi, prompt, 3 * context, greedy) == draw_in_passes(alibi, prompt, 3 * context));
        }
    }
}

TEST_CASE_TEMPLATE("tokens are those that the host draws from the same f32 logits", Configuration,
                   support::Small, Windowed) {
    using Model = Transformer<Configuration, Device, F32>;
    const Model model(seed(5));
    const Tokens prompt = some_tokens(3);
    for (const SamplingOptions& options :
         {SamplingOptions{}, SamplingOptions{.temperature = 0.7, .top_k = 4},
          SamplingOptions{.temperature = 1.5, .top_p = 0.8}, SamplingOptions{.top_k = 6, .top_p = 0.9}}) {
        const Philox random(seed(8), 0);
        KeyValueCache<Model> cache(model);
        Tokens seen = prompt, expected;
        while (static_cast<int>(seen.size()) < context) {
            const std::span fed = std::span(seen).subspan(static_cast<std::size_t>(cache.length()));
            const auto ids = Tensor<std::int32_t, Shape<1, dyn>, Device>::from(Tokens(fed.begin(), fed.end()),
                                                                               static_cast<int>(fed.size()));
            // Token by token where the generator's work is the same for each: equal bits.
            std::vector<double> logits;
            if (std::same_as<Device, Cpu> || fed.size() > 1) {
                const auto all = model(ids, cache).tensor();
                const int time = all.extents()[1];
                logits = support::values(slice<1>(all, time - 1, time));
            } else {
                auto steady = cache.steady();
                steady.place(cache.length());
                logits = support::values(model(ids, steady).tensor());
                cache.advance(1);
            }
            const std::vector<float> narrow(logits.begin(), logits.end());
            expected.push_back(sample(narrow.data(), static_cast<int>(narrow.size()), options,
                                      random.uniform(expected.size())));
            seen.push_back(expected.back());
        }
        CHECK(draw(model, prompt, context - 3, options, seed(8)) == expected);
    }
}

TEST_CASE("a prompt may be longer than the context") {
    const Static model(seed(4));
    for (const int length : {context + 1, 2 * context, 5 * context + 3}) {
        const Tokens prompt = some_tokens(length);
        CHECK(draw(model, prompt, 20, greedy) == draw_in_passes(model, prompt, 20));
    }
}

TEST_CASE("equal seeds give equal tokens, others give others") {
    const Static model(seed(1));
    const Tokens prompt = some_tokens(3), first = draw(model, prompt, 50, {}, seed(9));
    CHECK(draw(model, prompt, 50, {}, seed(9)) == first);
    CHECK(draw(model, prompt, 50, {}, seed(10)) != first);
    for (const std::int32_t token : first) {
        CHECK(token >= 0);
        CHECK(token < support::Small::vocabulary);
    }
}

TEST_CASE("feeding in pieces equals feeding at once, also between drawn tokens") {
    const Static model(seed(1));
    for (const int length : {9, context + 5}) {
        const Tokens prompt = some_tokens(length), expected = draw(model, prompt, 30, {}, seed(2));
        for (const int piece : {1, 2, 4, 7}) {
            Generator generator(model, {}, seed(2));
            for (int begin = 0; begin < length; begin += piece)
                generator.feed(
                    std::span(prompt).subspan(static_cast<std::size_t>(begin),
                                              static_cast<std::size_t>(std::min(piece, length - begin))));
            generator.feed({});
            CHECK(draw(generator, 30) == expected);
        }
    }
    // Tokens fed after drawn ones follow them.
    Generator generator(model, greedy);
    Tokens seen = some_tokens(2);
    generator.feed(seen);
    for (int round = 0; round < 2; ++round) {
        const Tokens drawn = draw(generator, 2), more = some_tokens(2);
        generator.feed(more);
        seen.insert(seen.end(), drawn.begin(), drawn.end());
        seen.insert(seen.end(), more.begin(), more.end());
    }
    CHECK(seen.size() < context);
    CHECK(draw(generator, 20) == draw_in_passes(model, seen, 20));
}

TEST_CASE("a generator that is rewound goes on as if what followed had never been") {
    const Static model(seed(1));
    const Tokens prompt = some_tokens(6);
    for (const int kept : {0, 1, 4, 6, 8}) {
        Generator generator(model, greedy);
        generator.feed(prompt);
        draw(generator, 3);
        Tokens seen(generator.tokens().begin(), generator.tokens().begin() + kept);
        generator.rewind(kept);
        for (const std::int32_t token : {2, 3}) {
            seen.push_back(token);
            generator.feed({&token, 1});
        }
        CHECK(draw(generator, 4) == draw_in_passes(model, seen, 4));
        generator.rewind(kept + 2);
        CHECK(draw(generator, 4) == draw_in_passes(model, seen, 4));
    }
    CHECK(Generator(model).capacity() == context);
}

TEST_CASE("a generator penalizes what came before, drawn or not") {
    const Static model(seed(1));
    const SamplingOptions penalized{.temperature = 0, .repetition_penalty = 1.5};
    if constexpr (std::same_as<Device, Cpu>) {
        Tokens seen = some_tokens(3), drawn = draw(model, seen, 8, penalized);
        CHECK(drawn != draw(model, seen, 8, greedy));
        for (const std::int32_t token : drawn) {
            std::vector<double> logits = last_logits(model, seen);
            penalize(logits.data(), support::Small::vocabulary, seen, 1.5);
            CHECK(token == std::max_element(logits.begin(), logits.end()) - logits.begin());
            seen.push_back(token);
        }
    } else {
        CHECK_THROWS_AS(Generator(model, penalized), Error);
    }
}

TEST_CASE("a generator that is moved goes on") {
    const Static model(seed(1));
    const Tokens prompt = some_tokens(3), expected = draw(model, prompt, 2 * context, {}, seed(2));
    Generator first(model, {}, seed(2));
    first.feed(prompt);
    Tokens drawn = draw(first, 5);
    Generator second(std::move(first));
    for (const std::int32_t token : draw(second, 2 * context - 5)) drawn.push_back(token);
    CHECK(drawn == expected);
}

TEST_CASE("tokens are drawn with the probabilities of the model") {
    constexpr int draws = 4000;
    const Static model(seed(6));
    const Tokens prompt = some_tokens(4);
    const std::vector<double> logits = last_logits(model, prompt);
    double total = 0;
    for (const double logit : logits) total += std::exp(logit / 0.9);
    std::vector<int> counts(logits.size(), 0);
    for (int i = 0; i < draws; ++i)
        ++counts[static_cast<std::size_t>(
            draw(model, prompt, 1, {.temperature = 0.9}, seed(static_cast<std::uint64_t>(i)))[0])];
    for (std::size_t token = 0; token < logits.size(); ++token) {
        const double likelihood = std::exp(logits[token] / 0.9) / total;
        CHECK(std::abs(counts[token] - draws * likelihood) <
              5 * std::sqrt(draws * likelihood * (1 - likelihood)));
    }
}

TEST_CASE("there must be something to follow, and tokens must be the model's") {
    const Static model(seed(1));
    Generator generator(model);
    CHECK_THROWS_AS(generator.next(), Error);
    generator.feed({});
    CHECK_THROWS_AS(generator.next(), Error);
    for (const std::int32_t outside : {-1, support::Small::vocabulary}) {
        const auto follow = [&] {
            Generator other(model);
            other.feed({&outside, 1});
            other.next();
        };
        CHECK_THROWS_AS(follow(), Error);
    }
}

TEST_CASE("options out of range are errors at once") {
    const Static model(seed(1));
    const auto make = [&](const SamplingOptions& options) { Generator generator(model, options); };
    constexpr double infinity = std::numeric_limits<double>::infinity();
    for (const double temperature : {-1.0, infinity, std::nan("")})
        CHECK_THROWS_AS(make({.temperature = temperature}), Error);
    for (const double top_p : {0.0, -0.5, 1.5, std::nan("")}) CHECK_THROWS_AS(make({.top_p = top_p}), Error);
    CHECK_THROWS_AS(make({.top_k = -1}), Error);
    CHECK_NOTHROW(make({.temperature = 2, .top_k = 5, .top_p = 0.5}));
}
