#pragma once

/// What a Transformer's layers may have. Each is a constant of the configuration's type, so that a program
/// compiles only what its models use.
namespace tenon {

/// How activations are normalized.
enum class NormKind {
    rms,                 ///< by their root mean square, with a gain (Zhang, Sennrich 2019)
    rms_plus_one,        ///< the same; what is trained is the gain's distance from 1, as in Gemma
    layer,               ///< by mean and variance, with gain and bias (Ba et al. 2016)
    layer_without_bias,  ///< by mean and variance, with a gain
    none,                ///< not at all
};

/// Where a block has its norms, of a branch f (attention, then feed-forward) beside the residual x.
enum class NormPlacement {
    pre,     ///< x + f(norm x) (Xiong et al. 2020)
    post,    ///< norm(x + f(x)), and none after the last block (Vaswani et al. 2017)
    output,  ///< x + norm(f(x)) (OLMo 2)
    both,    ///< x + norm(f(norm x)) (Gemma 2)
};

/// Whether a block fits together: branches in parallel have their norms before them.
constexpr bool block_fits(bool parallel, NormPlacement placement) {
    return !parallel || placement == NormPlacement::pre;
}

/// Whether queries and keys are normalized by their root mean square, before positions are.
enum class QueryKeyNorm {
    none,
    head,   ///< each head's by itself, with one gain for all heads (Qwen 3)
    whole,  ///< all heads' together (OLMo 2)
};

/// How a model knows the order of tokens.
enum class Positions {
    rotary,   ///< queries and keys are turned by their positions (Su et al. 2021)
    learned,  ///< a trained vector for each position is added to the embedding (GPT-2)
    alibi,    ///< scores fall linearly with distance (Press et al. 2022)
    none,     ///< by the causal mask alone
};

/// The function within the feed-forward layer; gated (`down(f(gate x) · up x)`, Shazeer 2020) or not
/// (`down(f(up x))`).
enum class FeedForwardKind {
    swiglu,      ///< gated, silu
    geglu,       ///< gated, gelu
    geglu_tanh,  ///< gated, gelu_tanh
    silu,
    gelu,
    gelu_tanh,
    relu,
    squared_relu,
};

constexpr bool is_gated(FeedForwardKind kind) {
    return kind == FeedForwardKind::swiglu || kind == FeedForwardKind::geglu ||
           kind == FeedForwardKind::geglu_tanh;
}

/// How a router's logits become the scores of experts.
enum class RouterScore {
    softmax,  ///< over all experts
    sigmoid,  ///< of each by itself (DeepSeek-V3)
};

/// How a model's parameters begin; see `initialize`.
enum class Initializer { cs336, gpt2 };

/// The features of a model that says nothing else: those of CS336's, and of Llama.
struct DefaultFeatures {
    static constexpr NormKind norm = NormKind::rms;
    static constexpr NormPlacement placement = NormPlacement::pre;
    /// x + attention(norm x) + feed_forward(norm' x), both branches from the same x (Wang, Komatsuzaki 2021,
    /// "GPT-J"); only with norms before them.
    static constexpr bool parallel = false;
    static constexpr QueryKeyNorm query_key_norm = QueryKeyNorm::none;
    static constexpr Positions positions = Positions::rotary;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::swiglu;
    static constexpr bool query_key_value_bias = false, attention_output_bias = false,
                          feed_forward_bias = false;
    /// The feed-forward layer is a mixture of experts (see MixtureOfExperts); how its router scores them,
    /// whether a bias that no loss trains balances them, and whether one expert more is for all tokens, and
    /// that with a gate of its own.
    static constexpr bool mixture_of_experts = false;
    static constexpr RouterScore router_score = RouterScore::softmax;
    static constexpr bool router_bias = false, shared_expert = false, shared_expert_gate = false;
    /// Some layers are no mixtures, but dense (see MixtureOrDense).
    static constexpr bool has_dense_layers = false;
    /// Keys and values are made of a narrow vector that all heads share (see LatentAttention).
    static constexpr bool latent_attention = false;
    /// The embedding is multiplied by the root of the width, as in Gemma.
    static constexpr bool scaled_embedding = false;
    static constexpr Initializer initializer = Initializer::cs336;
    /// In training a block keeps its input alone, and runs again in the backward pass (see `recompute`).
    static constexpr bool recompute = false;
    /// Each block's forward pass is a range with a name for profilers (see `NamedRange`).
    static constexpr bool named_ranges = false;
};

/// Stands for a layer or a parameter that a model does not have. It is made from whatever that would be.
struct Absent {
    template <class... A>
    constexpr explicit Absent(const A&...) {}
    template <class Visitor>
    void visit_parameters(Visitor&) {}
};

}  // namespace tenon
