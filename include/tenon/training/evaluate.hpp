#pragma once

#include <cmath>

#include <tenon/core/to_device.hpp>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#include <tenon/training/batches.hpp>

namespace tenon {

/// The total cross-entropy, in nats, of all tokens but the first under a model, passage by passage: what a
/// token follows is what stands before it in its passage.
template <class Model, class Token>
double total_cross_entropy(const Model& model, std::span<const Token> tokens, int batch_size, int time) {
    const Tape::Pause pause(Tape::current());
    const ConsecutiveBatches<Token> batches(tokens, batch_size, time);
    using Device = typename Model::Device;
    double total = 0;
    for (std::int64_t number = 0; number < batches.size(); ++number) {
        const auto [inputs, targets] = batches(number);
        const auto loss = cross_entropy(model(to_device<Device>(inputs)), to_device<Device>(targets));
        total += static_cast<double>(loss.item()) * static_cast<double>(targets.size());
    }
    return total;
}

/// Bits for each byte of the text that the tokens stand for. Throws Error where it has none.
inline double bits_per_byte(double nats, std::int64_t bytes) {
    if (bytes <= 0) throw Error("bits per byte: expected at least one byte, got " + std::to_string(bytes));
    return nats / std::log(2.0) / static_cast<double>(bytes);
}

/// What a model makes of a text.
struct Evaluation {
    double loss = 0;        ///< nats a token
    double perplexity = 0;  ///< of a token: exp(loss)
    double bits_per_byte = 0;
};

/// Judges a model by tokens that stand for a text of so many bytes. Throws as the functions above do.
template <class Model, class Token>
Evaluation evaluate(const Model& model, std::span<const Token> tokens, std::int64_t bytes, int batch_size,
                    int time) {
    const double nats = total_cross_entropy(model, tokens, batch_size, time);
    const double loss = nats / static_cast<double>(tokens.size() - 1);
    return {loss, std::exp(loss), bits_per_byte(nats, bytes)};
}

}  // namespace tenon
