// How GGUF files hold what they hold in more ways than one, and the architectures that share a name in them.
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/io/load_encoder.hpp>
#include <tenon/io/parameters.hpp>
#include <tenon/io/read_configuration.hpp>
#include <tenon/model/architectures.hpp>
#include <tenon/model/transformer.hpp>

#include "../gguf_architecture.hpp"
#include "../gguf_file.hpp"
#include "../support.hpp"

using namespace tenon;
using support::architecture_of;
using support::Device;
using support::GgufFile;
using support::parsed;
using support::refusal_of;

namespace {

/// Adds a tensor whose elements are 0, 1, 2, ….
void count(GgufFile& file, const std::string& name, const std::vector<std::uint64_t>& shape) {
    std::size_t size = 1;
    for (const std::uint64_t extent : shape) size *= extent;
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) support::append_number(bytes, static_cast<float>(i));
    file.tensor(name, shape, 0, bytes);
}

/// The elements of all parameters of a model that is read from the file.
template <class Model>
std::map<std::string, std::vector<float>> read(const GgufFile& file) {
    const std::string bytes = file.bytes();
    const Gguf gguf = parsed(bytes);  // views the bytes
    const Architecture found = find_architecture(OwnedConfiguration(gguf).table());
    Model model = load_model<Model>(found.sizes, gguf, found.names);
    std::map<std::string, std::vector<float>> result;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        result[std::string(name)] = support::elements<float>(parameter);
    });
    return result;
}

constexpr int width = 4, heads = 2, latent = 3, plain = 2, turned = 2, value = 2, experts = 4, hidden = 2;

/// The first of 2 blocks is dense.
GgufFile deepseek_keys() {
    return GgufFile()
        .text("general.architecture", "deepseek2")
        .integer("deepseek2.context_length", 8)
        .integer("deepseek2.embedding_length", width)
        .integer("deepseek2.block_count", 2)
        .integer("deepseek2.feed_forward_length", 5)
        .integer("deepseek2.attention.head_count", heads)
        .integer("deepseek2.attention.kv_lora_rank", latent)
        .integer("deepseek2.rope.dimension_count", turned)
        .real("deepseek2.attention.layer_norm_rms_epsilon", 1e-6f)
        .integer("deepseek2.leading_dense_block_count", 1)
        .integer("deepseek2.expert_count", experts)
        .integer("deepseek2.expert_used_count", 2)
        .integer("deepseek2.expert_shared_count", 3)
        .integer("deepseek2.expert_feed_forward_length", hidden)
        .real("deepseek2.expert_weights_scale", 2.5f);
}

/// As files of late are: a cache's widths, and those of the heads beside.
GgufFile keys_by_head() {
    return deepseek_keys()
        .integer("deepseek2.attention.head_count_kv", 1)
        .integer("deepseek2.attention.key_length", latent + turned)
        .integer("deepseek2.attention.value_length", latent)
        .integer("deepseek2.attention.key_length_mla", plain + turned)
        .integer("deepseek2.attention.value_length_mla", value);
}

GgufFile keys_joined() {
    return deepseek_keys()
        .integer("deepseek2.attention.head_count_kv", heads)
        .integer("deepseek2.attention.key_length", plain + turned)
        .integer("deepseek2.attention.value_length", value);
}

/// All tensors but those that make keys and values of latents.
void add_other_tensors(GgufFile& file) {
    count(file, "token_embd.weight", {5, width});
    count(file, "output_norm.weight", {width});
    count(file, "output.weight", {5, width});
    for (const std::string block : {"blk.0.", "blk.1."}) {
        count(file, block + "attn_norm.weight", {width});
        count(file, block + "attn_q.weight", {heads * (plain + turned), width});
        count(file, block + "attn_kv_a_mqa.weight", {latent + turned, width});
        count(file, block + "attn_kv_a_norm.weight", {latent});
        count(file, block + "attn_output.weight", {width, heads * value});
        count(file, block + "ffn_norm.weight", {width});
    }
    count(file, "blk.0.ffn_gate.weight", {5, width});
    count(file, "blk.0.ffn_up.weight", {5, width});
    count(file, "blk.0.ffn_down.weight", {width, 5});
    count(file, "blk.1.ffn_gate_inp.weight", {experts, width});
    count(file, "blk.1.exp_probs_b.bias", {experts});
    count(file, "blk.1.ffn_gate_exps.weight", {experts, hidden, width});
    count(file, "blk.1.ffn_up_exps.weight", {experts, hidden, width});
    count(file, "blk.1.ffn_down_exps.weight", {experts, width, hidden});
    count(file, "blk.1.ffn_gate_shexp.weight", {3 * hidden, width});
    count(file, "blk.1.ffn_up_shexp.weight", {3 * hidden, width});
    count(file, "blk.1.ffn_down_shexp.weight", {width, 3 * hidden});
}

/// The numbers from 0 on.
std::vector<float> counted(int size) {
    std::vector<float> numbers;
    for (int i = 0; i < size; ++i) numbers.push_back(static_cast<float>(i));
    return numbers;
}

using DeepseekModel = Transformer<DynamicTransformer<DeepseekV3::Features>, Device>;
using MixtralModel = Transformer<DynamicTransformer<Mixtral::Features>, Device>;

}  // namespace

TEST_CASE("DeepSeek of files with a matrix for each head, of which those of keys are transposed") {
    GgufFile file = keys_by_head().integer("deepseek2.expert_gating_func", 2);
    add_other_tensors(file);
    for (const std::string block : {"blk.0.", "blk.1."}) {
        count(file, block + "attn_k_b.weight", {heads, latent, plain});
        count(file, block + "attn_v_b.weight", {heads, value, latent});
    }
    auto parameters = read<DeepseekModel>(file);
    CHECK(parameters["blocks.1.attention.key.weight"] ==
          std::vector<float>{0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11});
    CHECK(parameters["blocks.1.attention.value.weight"] == counted(heads * value * latent));
    // What is turned is the last of a head's rows.
    CHECK(parameters["blocks.0.attention.query.weight"] ==
          std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23});
    CHECK(parameters["blocks.0.attention.turned_query.weight"] ==
          std::vector<float>{8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31});
    CHECK(parameters["blocks.0.attention.latent.weight"] == counted(latent * width));
    CHECK(parameters["blocks.0.attention.turned_key.weight"] ==
          std::vector<float>{12, 13, 14, 15, 16, 17, 18, 19});
    CHECK(parameters["blocks.0.feed_forward.dense.up.weight"] == counted(5 * width));
    CHECK(parameters["blocks.1.feed_forward.router.bias"] == counted(experts));
    CHECK(parameters["blocks.1.feed_forward.shared.down.weight"] == counted(width * 3 * hidden));
}

TEST_CASE("DeepSeek of older files, where heads take turns in one tensor") {
    GgufFile file = keys_joined().integer("deepseek2.expert_gating_func", 2);
    add_other_tensors(file);
    for (const std::string block : {"blk.0.", "blk.1."})
        count(file, block + "attn_kv_b.weight", {heads * (plain + value), latent});
    auto parameters = read<DeepseekModel>(file);
    CHECK(parameters["blocks.0.attention.key.weight"] ==
          std::vector<float>{0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17});
    CHECK(parameters["blocks.0.attention.value.weight"] ==
          std::vector<float>{6, 7, 8, 9, 10, 11, 18, 19, 20, 21, 22, 23});
}

TEST_CASE("Mixtral of older files, where each expert has tensors of its own") {
    GgufFile file = GgufFile()
                        .text("general.architecture", "llama")
                        .integer("llama.context_length", 8)
                        .integer("llama.embedding_length", width)
                        .integer("llama.block_count", 1)
                        .integer("llama.feed_forward_length", hidden)
                        .integer("llama.attention.head_count", 2)
                        .integer("llama.expert_count", 2)
                        .integer("llama.expert_used_count", 1)
                        .real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    count(file, "token_embd.weight", {5, width});
    count(file, "output_norm.weight", {width});
    for (const char* const norm : {"attn_norm", "ffn_norm"})
        count(file, std::string("blk.0.") + norm + ".weight", {width});
    for (const char* const matrix : {"attn_q", "attn_k", "attn_v", "attn_output"})
        count(file, std::string("blk.0.") + matrix + ".weight", {width, width});
    count(file, "blk.0.ffn_gate_inp.weight", {2, width});
    for (const std::string expert : {"0", "1"}) {
        count(file, "blk.0.ffn_gate." + expert + ".weight", {hidden, width});
        count(file, "blk.0.ffn_up." + expert + ".weight", {hidden, width});
        count(file, "blk.0.ffn_down." + expert + ".weight", {width, hidden});
    }
    auto parameters = read<MixtralModel>(file);
    const std::vector<float> matrix = counted(hidden * width);
    std::vector<float> two = matrix, four;
    two.insert(two.end(), matrix.begin(), matrix.end());
    four = two;
    four.insert(four.end(), two.begin(), two.end());
    CHECK(parameters["blocks.0.feed_forward.gate_up.weight"] == four);
    CHECK(parameters["blocks.0.feed_forward.down.weight"] == two);
}

TEST_CASE("DeepSeek's numbers from a GGUF file's metadata: how experts are scored tells the version") {
    const auto with_vocabulary = [](GgufFile file) { return file.integer("deepseek2.vocab_size", 5); };
    const Architecture second = architecture_of(with_vocabulary(keys_joined()));
    CHECK(second.name == "deepseek_v2");
    CHECK_FALSE(second.sizes.normalized_experts);
    const Architecture third =
        architecture_of(with_vocabulary(keys_by_head())
                            .integer("deepseek2.expert_gating_func", 2)
                            .flag("deepseek2.expert_weights_norm", true)
                            .integer("deepseek2.attention.q_lora_rank", 7)
                            .integer("deepseek2.expert_group_count", 2)
                            .integer("deepseek2.expert_group_used_count", 1)
                            .integer("deepseek2.nextn_predict_layers", 1)
                            .text("deepseek2.rope.scaling.type", "yarn")
                            .real("deepseek2.rope.scaling.factor", 40)
                            .real("deepseek2.rope.scaling.yarn_log_multiplier", 0.05f));
    CHECK(third.name == "deepseek_v3");
    CHECK(third.sizes.normalized_experts);
    CHECK(third.sizes.expert_groups == 2);
    CHECK(third.sizes.chosen_groups == 1);
    CHECK(third.sizes.group_score == GroupScore::sum_of_best_two);
    CHECK(third.sizes.query_latent_width == 7);
    CHECK(third.sizes.depth == 1);  // of 2 blocks, one predicts the token after the next
    CHECK(third.sizes.rotary_scaling.scale_of_all == doctest::Approx(0.5));
    CHECK(third.sizes.rotary_scaling.scale == third.sizes.rotary_scaling.scale_of_all);
    for (const TransformerSizes& sizes : {second.sizes, third.sizes}) {
        CHECK(sizes.key_value_heads == heads);
        CHECK(sizes.head_width == plain + turned);
        CHECK(sizes.rotary_width == turned);
        CHECK(sizes.rotary_pairs == RotaryPairs::interleaved);
        CHECK(sizes.value_width == value);
        CHECK(sizes.latent_width == latent);
        CHECK(sizes.dense_layers.has(0));
        CHECK_FALSE(sizes.dense_layers.has(1));
        CHECK(sizes.dense_hidden == 5);
        CHECK(sizes.shared_hidden == 3 * hidden);
        CHECK(sizes.expert_scale == 2.5);
    }
    CHECK(refusal_of(with_vocabulary(keys_joined()).integer("deepseek2.expert_gating_func", 3)) ==
          "f.gguf: deepseek2: expected experts, or none, and their expert_gating_func as models that are "
          "supported have them, got others");
    CHECK(refusal_of(with_vocabulary(keys_joined()).integer("deepseek2.nextn_predict_layers", 2)) ==
          "f.gguf: deepseek2.nextn_predict_layers: expected fewer than all blocks, 2, got 2");
    CHECK(refusal_of(with_vocabulary(deepseek_keys())) ==
          "f.gguf: deepseek2.attention.key_length: expected an integer, got nothing");
}

TEST_CASE("BERT's numbers from a GGUF file") {
    GgufFile file = GgufFile()
                        .text("general.architecture", "bert")
                        .integer("bert.context_length", 16)
                        .integer("bert.embedding_length", width)
                        .integer("bert.block_count", 1)
                        .integer("bert.feed_forward_length", hidden)
                        .integer("bert.attention.head_count", 2)
                        .integer("bert.pooling_type", 2)
                        .real("bert.attention.layer_norm_epsilon", 1e-12f);
    count(file, "token_embd.weight", {5, width});
    count(file, "token_types.weight", {3, width});
    const Architecture bert = architecture_of(GgufFile(file).flag("bert.attention.causal", false));
    CHECK(bert.name == "bert");
    CHECK(bert.is_encoder);
    CHECK(bert.sizes.vocabulary == 5);
    CHECK(bert.sizes.token_types == 3);
    CHECK(bert.sizes.hidden == hidden);
    CHECK(bert.sizes.norm_epsilon == doctest::Approx(1e-12));
    CHECK(checkpoint_name(bert.names, "blocks.0.attention_norm.bias") == "blk.0.attn_output_norm.bias");
    CHECK(checkpoint_name(bert.names, "blocks.0.feed_forward_norm.gain") == "blk.0.layer_output_norm.weight");
    CHECK(heads_in(parsed(file.bytes()), bert.names) == EncoderHeads());
    CHECK(refusal_of(GgufFile(file).flag("bert.attention.causal", true)) ==
          "f.gguf: bert.attention.causal: expected false, got the opposite");
    CHECK(
        refusal_of(GgufFile(file).text("bert.classifier.output_labels", "a")) ==
        "f.gguf: bert.classifier.output_labels: expected no such key in a model that is supported, got one");
}
