#pragma once

#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <tenon/files.hpp>

#include "../device.hpp"

/// The adapters of CS336's first assignment under their own names: how each piece is written with tenon. Of
/// arguments that a shape, a configuration or a weight already tells, none is repeated. Those of the
/// tokenizer are in tokenizer_adapters.hpp.
namespace cs336 {

using namespace tenon;
using support::Device;

using Plain = Setting<Device, F32, Untracked>;

/// weight [out, in], x [..., in] -> [..., out].
template <auto Out, auto In, class X>
auto run_linear(const Tensor<float, Shape<Out, In>, Device>& weight, const X& x) {
    Linear<Plain, Out, In> layer;
    copy_to(layer.weight.value(), weight);
    return layer(x);
}

/// weight [vocabulary, width], ids [...] -> [..., width].
template <class W, class Ids>
auto run_embedding(const W& weight, const Ids& ids) {
    return embedding(weight, ids);
}

template <auto Width, class X>
auto run_rmsnorm(double epsilon, const Tensor<float, Shape<Width>, Device>& gain, const X& x) {
    Norm<Plain, Width> layer(epsilon);
    copy_to(layer.gain.value(), gain);
    return layer(x);
}

template <class X>
Tensor<float, typename X::shape_type, Device> run_silu(const X& x) {
    return silu(x);
}

template <auto Width, auto Hidden, class X>
auto run_swiglu(const Tensor<float, Shape<Hidden, Width>, Device>& w1,
                const Tensor<float, Shape<Width, Hidden>, Device>& w2,
                const Tensor<float, Shape<Hidden, Width>, Device>& w3, const X& x) {
    FeedForward<Plain, Width, Hidden> layer;
    copy_to(layer.gate.weight.value(), w1);
    copy_to(layer.down.weight.value(), w2);
    copy_to(layer.up.weight.value(), w3);
    return layer(x);
}

/// x [..., time, width], at positions 0, 1, 2 …
template <class X>
auto run_rope(double theta, int max_seq_len, const X& x) {
    const int time = x.extent(-2), width = x.extent(-1);
    const RotaryTable<float, Device> table(max_seq_len, width, theta);
    const auto one_head =
        reshape<Shape<dyn, dyn, 1, dyn>>(x, static_cast<int>(x.size()) / (time * width), time, width);
    return reshape<typename X::shape_type>(rotary(one_head, table, RotaryPairs::interleaved));
}

/// x [..., time, width], at any positions [..., time].
template <class X, class Positions>
auto run_rope(double theta, int max_seq_len, const X& x, const Positions& token_positions) {
    const int time = x.extent(-2), width = x.extent(-1), rows = static_cast<int>(x.size()) / (time * width);
    const RotaryTable<float, Device> table(max_seq_len, width, theta);
    const auto one_head = reshape<Shape<dyn, dyn, 1, dyn>>(x, rows, time, width);
    const auto positions = reshape<Shape<dyn, dyn>>(token_positions, rows, time);
    return reshape<typename X::shape_type>(rotary(one_head, table, RotaryPairs::interleaved, positions));
}

template <int Dim, class X>
auto run_softmax(const X& x) {
    return softmax<axis<Dim>>(x);
}

/// [batch, time, width], mask [batch, queries, keys]; or [batch, heads, time, width] with a mask for each
/// head. tenon has heads after time.
template <class Q, class K, class V, class Mask>
auto run_scaled_dot_product_attention(const Q& q, const K& k, const V& v, const Mask& mask) {
    if constexpr (Q::rank == 3)
        return attention(q, k, v, {.causal = false}, mask);
    else
        return contiguous(transpose<1, 2>(
            attention(transpose<1, 2>(q), transpose<1, 2>(k), transpose<1, 2>(v), {.causal = false}, mask)));
}

struct WithoutPositions : TransformerDefaults {
    static constexpr Positions positions = Positions::none;
};

template <class Layer, class W>
void load_attention(Layer& layer, const W& q, const W& k, const W& v, const W& output) {
    copy_to(layer.query.weight.value(), q);
    copy_to(layer.key.weight.value(), k);
    copy_to(layer.value.weight.value(), v);
    copy_to(layer.output.weight.value(), output);
}

/// Weights [width, width], x [batch, time, width].
template <auto Heads, auto Width, class X>
auto run_multihead_self_attention(const Tensor<float, Shape<Width, Width>, Device>& q,
                                  const Tensor<float, Shape<Width, Width>, Device>& k,
                                  const Tensor<float, Shape<Width, Width>, Device>& v,
                                  const Tensor<float, Shape<Width, Width>, Device>& output, const X& x) {
    SelfAttention<Plain, Width, Heads, Heads, Width / Heads, WithoutPositions> layer;
    load_attention(layer, q, k, v, output);
    return layer(x, Absent(), NoCache());
}

template <auto Heads, auto Width, class X>
auto run_multihead_self_attention_with_rope(int max_seq_len, double theta,
                                            const Tensor<float, Shape<Width, Width>, Device>& q,
                                            const Tensor<float, Shape<Width, Width>, Device>& k,
                                            const Tensor<float, Shape<Width, Width>, Device>& v,
                                            const Tensor<float, Shape<Width, Width>, Device>& output,
                                            const X& x) {
    SelfAttention<Plain, Width, Heads, Heads, Width / Heads> layer;
    load_attention(layer, q, k, v, output);
    return layer(x, RotaryTable<float, Device>(max_seq_len, Width / Heads, theta), NoCache());
}

/// The first block of a model in a file with the assignment's names; x [batch, time, width].
template <auto Width, auto Heads, auto Hidden, class X>
auto run_transformer_block(int max_seq_len, double theta, const Safetensors& weights, const X& x) {
    using Attention = SelfAttention<Plain, Width, Heads, Heads, Width / Heads>;
    Block<Plain, Attention, Width, Hidden> block(Attention(), 1e-5);
    for_each_parameter(block, [&](std::string_view name, ParameterBase& parameter) {
        const auto bytes = weights.at(checkpoint_name(Cs336::names, "blocks.0." + std::string(name))).bytes;
        Memory<Device>::copy(bytes.data(), static_cast<std::int64_t>(bytes.size()),
                             static_cast<std::byte*>(parameter.data));
    });
    return block(x, RotaryTable<float, Device>(max_seq_len, Width / Heads, theta), NoCache());
}

/// `Sizes` is the configuration, `weights` a file with the assignment's names; ids [batch, time].
template <class Sizes, class Ids>
auto run_transformer_lm(const Safetensors& weights, const Ids& ids) {
    Transformer<Sizes, Device> model;
    load_parameters(model, weights, Cs336::names);
    return model(ids).tensor();
}

template <class X, class Targets>
float run_cross_entropy(const X& logits, const Targets& targets) {
    return cross_entropy(logits, targets).item();
}

/// The optimizer is a class template; made from a model, or from bare parameters.
inline auto get_adamw(const ParameterList& parameters, const AdamWOptions& options) {
    return AdamW<float, float, Device>(parameters, options);
}

inline double run_get_lr_cosine_schedule(std::int64_t it, double max_learning_rate, double min_learning_rate,
                                         std::int64_t warmup_iters, std::int64_t cosine_cycle_iters) {
    return CosineSchedule{max_learning_rate, min_learning_rate, warmup_iters, cosine_cycle_iters}(it);
}

inline void run_gradient_clipping(const std::vector<ParameterBase*>& parameters, double max_l2_norm) {
    clip_gradient_norm<float, Device>(parameters, max_l2_norm);
}

/// Batch number `step`. The device is a type, so that a wrong one does not compile.
template <class Token>
auto run_get_batch(std::span<const Token> dataset, int batch_size, int context_length, std::int64_t step) {
    return RandomBatches<dyn, dyn, Token>(dataset, seed(336), batch_size, context_length)(step);
}

/// Views all that a checkpoint holds.
template <class Model, class Optimizer>
TrainingState state_of(Model& model, Optimizer& optimizer) {
    TrainingState state;
    state.add_parameters("model", model);
    state.add_part("optimizer", optimizer);
    return state;
}

template <class Model, class Optimizer>
void run_save_checkpoint(Model& model, Optimizer& optimizer, std::int64_t iteration,
                         const std::string& folder) {
    save_training(folder, iteration, state_of(model, optimizer));
}

/// Returns the iteration.
template <class Model, class Optimizer>
std::int64_t run_load_checkpoint(const std::string& folder, Model& model, Optimizer& optimizer) {
    return load_training(folder, state_of(model, optimizer)).value().step;
}

}  // namespace cs336
