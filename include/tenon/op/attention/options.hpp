#pragma once

namespace tenon {

/// How attention weighs its keys.
struct AttentionOptions {
    /// A query attends to no key after its own position.
    bool causal = true;
    /// Scores are products times this; 0 means 1 / sqrt(key width).
    float scale = 0;
    /// Scores fall with the distance of a key from its query, at a pace of each head's own: `alibi_slope`.
    /// They do so after soft_cap.
    bool alibi = false;
    /// If positive, a query attends only to the last `window` keys up to and including its own position.
    int window = 0;
    /// If positive, scores become soft_cap * tanh(score / soft_cap).
    float soft_cap = 0;
};

}  // namespace tenon
