#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <tenon/core/element.hpp>
#include <tenon/core/error.hpp>
#include <tenon/core/random.hpp>
#include <tenon/core/tensor.hpp>
#include <tenon/core/workspace.hpp>

namespace tenon {

/// How the next token is drawn from logits.
struct SamplingOptions {
    double temperature = 1;  ///< divides the logits; 0 takes the greatest
    int top_k = 0;           ///< only the k most likely tokens; 0: all
    double top_p =
        1;  ///< only the most likely tokens that together reach p (Holtzman et al. 2020, "nucleus")
    /// Tokens that came before have their logits divided by it, or multiplied where they are negative (Keskar
    /// et al. 2019, "CTRL"); 1: none. Generators do so, on the CPU.
    double repetition_penalty = 1;
};

/// Throws Error where an option is out of range.
inline void require_valid(const SamplingOptions& options) {
    const auto fail = [](const char* expected, const std::string& got) {
        throw Error(std::string("sampling: expected ") + expected + ", got " + got);
    };
    if (!(options.temperature >= 0 && options.temperature < 1e300))
        fail("a temperature of at least 0", std::to_string(options.temperature));
    if (!(options.top_p > 0 && options.top_p <= 1))
        fail("a top-p above 0, at most 1", std::to_string(options.top_p));
    if (options.top_k < 0) fail("a top-k of at least 0", std::to_string(options.top_k));
    if (!(options.repetition_penalty > 0 && options.repetition_penalty < 1e30))
        fail("a repetition penalty above 0", std::to_string(options.repetition_penalty));
}

namespace detail {

template <class T>
int greatest_logit(const T* logits, int count) {
    int best = 0;
    for (int i = 1; i < count; ++i)
        if (convert<double>(logits[i]) > convert<double>(logits[best])) best = i;
    return best;
}

}  // namespace detail

/// Makes tokens that came before less likely: see SamplingOptions::repetition_penalty. Those that are no
/// logit's are passed over.
template <class T>
void penalize(T* logits, int count, std::span<const std::int32_t> tokens, double penalty) {
    if (penalty == 1) return;
    std::vector<bool> is_done(static_cast<std::size_t>(count));
    for (const std::int32_t token : tokens) {
        if (token < 0 || token >= count || is_done[static_cast<std::size_t>(token)]) continue;
        is_done[static_cast<std::size_t>(token)] = true;
        const double logit = convert<double>(logits[token]);
        logits[token] = convert<T>(logit > 0 ? logit / penalty : logit * penalty);
    }
}

/// Draws a token from `count` logits; `uniform` lies in [0, 1). The first of equals comes first, so the
/// result is a function of the arguments. Takes nothing from malloc once a thread's workspace has grown.
/// Throws Error where the options are out of range.
template <class T>
int sample(const T* logits, int count, const SamplingOptions& options, double uniform) {
    require_valid(options);
    const int best = detail::greatest_logit(logits, count);
    if (options.temperature == 0 || options.top_k == 1) return best;

    Workspace workspace;
    double* weights = workspace.take<double>(static_cast<std::size_t>(count));
    int* order = workspace.take<int>(static_cast<std::size_t>(count));
    double total = 0;
    for (int i = 0; i < count; ++i) {
        order[i] = i;
        weights[i] =
            std::exp((convert<double>(logits[i]) - convert<double>(logits[best])) / options.temperature);
        total += weights[i];
    }
    int kept = count;
    const bool is_ordered = options.top_k > 0 || options.top_p < 1;
    if (is_ordered) {
        if (options.top_k > 0) kept = std::min(kept, options.top_k);
        std::partial_sort(order, order + kept, order + count, [&](int a, int b) {
            return weights[a] != weights[b] ? weights[a] > weights[b] : a < b;
        });
        if (options.top_k > 0) {
            total = 0;
            for (int i = 0; i < kept; ++i) total += weights[order[i]];
        }
        double reached = 0;
        for (int i = 0; i < kept; ++i) {
            reached += weights[order[i]];
            if (reached >= options.top_p * total) {
                kept = i + 1;
                total = reached;
            }
        }
    }
    double left = uniform * total;
    for (int i = 0; i < kept; ++i) {
        left -= weights[order[i]];
        if (left < 0) return order[i];
    }
    return is_ordered ? order[kept - 1] : best;  // rounding
}

/// Names the drawing of tokens where kernels are declared.
struct Sample {};

template <>
struct Kernel<Sample, Cpu> {
    /// Row r draws number `*position` of stream r of the seed.
    template <class T>
    static void run(const T* logits, std::int64_t rows, int count, const SamplingOptions& options, Seed seed,
                    const std::int64_t* position, std::int32_t* tokens) {
        for (std::int64_t row = 0; row < rows; ++row) {
            const Philox random(seed, static_cast<std::uint64_t>(row));
            tokens[row] = sample(logits + row * count, count, options,
                                 random.uniform(static_cast<std::uint64_t>(*position)));
        }
    }

    /// The next draw is of the next number.
    static void advance(std::int64_t* position) { ++*position; }
};

/// Draws a token from each row of logits [..., vocabulary], packed: [rows], on the device of the logits. Row
/// r draws number `position` of stream r of the seed; that the position lies in the device's memory lets a
/// step that was captured draw anew each time it is replayed. Throws Error where the options are out of
/// range.
template <TensorLike X>
    requires(X::is_packed&& X::rank >= 1)
auto sample(const X& logits, const SamplingOptions& options, Seed seed,
            const Tensor<std::int64_t, Shape<>, typename X::device_type>& position) {
    require_valid(options);
    const int count = logits.extents()[X::rank - 1];
    if (count < 1) throw ShapeError("sample: expected logits, got " + detail::shape_text(logits.extents()));
    const std::int64_t rows = logits.size() / count;
    auto tokens =
        Tensor<std::int32_t, Shape<dyn>, typename X::device_type>::uninitialized(static_cast<int>(rows));
    Kernel<Sample, typename X::device_type>::run(static_cast<const typename X::value_type*>(logits.data()),
                                                 rows, count, options, seed, position.data(), tokens.data());
    return tokens;
}

}  // namespace tenon
