#include <cstdint>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include <tenon/io/read_configuration.hpp>
#include <tenon/model/architectures.hpp>

using namespace tenon;

namespace {

OwnedConfiguration configuration(const std::string& text) {
    return OwnedConfiguration(parse_json(text, "config.json"), "config.json");
}

Architecture found(const std::string& text) { return require_architecture(configuration(text).table()); }

std::int64_t count(const Architecture& architecture) {
    return visit_architecture(architecture, [&]<class A>(A) {
        return parameter_count<typename A::Features>(resolved(architecture.sizes, A::Features::positions));
    });
}

/// A small configuration of a model type, with some settings more.
std::string small(const std::string& type, const std::string& more = "") {
    return R"({"model_type": ")" + type +
           R"(", "vocab_size": 100, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 6,
               "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
               "max_position_embeddings": 64)" +
           (more.empty() ? "" : ", " + more) + "}";
}

std::string message_for(const std::string& text) {
    try {
        found(text);
    } catch (const FileError& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("published configurations are read, and have as many parameters as published") {
    const Architecture llama = found(R"({"model_type": "llama", "vocab_size": 128256, "hidden_size": 4096,
        "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0, "tie_word_embeddings": false, "hidden_act": "silu",
        "attention_bias": false, "mlp_bias": false, "pretraining_tp": 1,
        "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 8192, "rope_type": "llama3"}})");
    CHECK(llama.name == "llama");
    CHECK(count(llama) == 8'030'261'248);
    CHECK(llama.sizes.rotary_base == 500'000);
    CHECK(llama.sizes.rotary_scaling == RotaryScaling{.kind = RotaryScalingKind::llama3,
                                                      .factor = 8,
                                                      .original_context = 8192,
                                                      .low_factor = 1,
                                                      .high_factor = 4});

    const Architecture mistral = found(R"({"model_type": "mistral", "vocab_size": 32000,
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768,
        "sliding_window": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0})");
    CHECK(count(mistral) == 7'241'732'096);
    CHECK(mistral.sizes.window_of(31) == 4096);

    const Architecture qwen2 = found(R"({"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896,
        "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "max_position_embeddings": 32768, "max_window_layers": 21,
        "sliding_window": 32768, "use_sliding_window": false, "tie_word_embeddings": true,
        "rope_theta": 1000000.0})");
    CHECK(count(qwen2) == 494'032'768);
    CHECK(qwen2.sizes.window == 0);

    const Architecture qwen3 = found(R"({"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024,
        "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16, "head_dim": 128,
        "num_key_value_heads": 8, "max_position_embeddings": 40960, "tie_word_embeddings": true,
        "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null})");
    CHECK(count(qwen3) == 596'049'920);

    const Architecture gemma2 = found(R"({"model_type": "gemma2", "vocab_size": 256000,
        "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "max_position_embeddings": 8192, "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256, "sliding_window": 4096,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "rope_theta": 10000.0})");
    CHECK(count(gemma2) == 2'614'341'888);
    CHECK(gemma2.sizes.tied);
    CHECK(gemma2.sizes.attention_scale == 1.0 / 16);
    CHECK(gemma2.sizes.attention_soft_cap == 50);
    CHECK(gemma2.sizes.logit_soft_cap == 30);
    for (int layer = 0; layer < 26; ++layer) CHECK(gemma2.sizes.window_of(layer) == (layer % 2 ? 0 : 4096));

    const Architecture gemma3 = found(R"({"model_type": "gemma3_text", "vocab_size": 262144,
        "hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26, "num_attention_heads": 4,
        "num_key_value_heads": 1, "head_dim": 256, "max_position_embeddings": 32768,
        "attn_logit_softcapping": null, "final_logit_softcapping": null, "query_pre_attn_scalar": 256,
        "rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000,
        "sliding_window": 512, "sliding_window_pattern": 6})");
    CHECK(count(gemma3) == 999'885'952);
    CHECK(gemma3.sizes.logit_soft_cap == 0);
    CHECK(gemma3.sizes.rotary_base == 1'000'000);
    CHECK(gemma3.sizes.window_rotary_base == 10'000);
    for (int layer = 0; layer < 26; ++layer)
        CHECK(gemma3.sizes.window_of(layer) == (layer % 6 == 5 ? 0 : 512));

    CHECK(count(found(R"({"model_type": "olmo2", "vocab_size": 100352, "hidden_size": 2048,
        "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 16,
        "num_key_value_heads": 16, "max_position_embeddings": 4096, "rope_theta": 500000})")) ==
          1'484'916'736);

    const Architecture phi3 = found(R"({"model_type": "phi3", "vocab_size": 32064, "hidden_size": 3072,
        "intermediate_size": 8192, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "max_position_embeddings": 4096, "rope_scaling": null,
        "original_max_position_embeddings": 4096, "sliding_window": 2047, "rope_theta": 10000.0})");
    CHECK(count(phi3) == 3'821'079'552);
    CHECK(phi3.sizes.window == 2047);

    const Architecture neox = found(R"({"model_type": "gpt_neox", "vocab_size": 50304, "hidden_size": 512,
        "intermediate_size": 2048, "num_hidden_layers": 6, "num_attention_heads": 8,
        "max_position_embeddings": 2048, "hidden_act": "gelu", "rotary_pct": 0.25,
        "rotary_emb_base": 10000, "use_parallel_residual": true, "layer_norm_eps": 1e-05})");
    CHECK(count(neox) == 70'426'624);
    CHECK(neox.sizes.rotary_width == 16);

    const Architecture smollm3 = found(R"({"model_type": "smollm3", "vocab_size": 128256,
        "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36,
        "num_attention_heads": 16, "num_key_value_heads": 4, "max_position_embeddings": 65536,
        "no_rope_layer_interval": 4, "rope_theta": 5000000.0, "use_sliding_window": false})");
    CHECK(count(smollm3) == 3'075'098'624);
    CHECK(smollm3.sizes.tied);
    for (int layer = 0; layer < 36; ++layer)
        CHECK(smollm3.sizes.unturned_layers.has(layer) == (layer % 4 == 3));
}

TEST_CASE("DeepSeek's: dense layers before mixtures, groups of experts, latents") {
    const Architecture lite = found(R"({"model_type": "deepseek_v2", "vocab_size": 102400,
        "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
        "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16,
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "n_routed_experts": 64, "n_shared_experts": 2,
        "num_experts_per_tok": 6, "n_group": 1, "topk_group": 1, "topk_method": "greedy",
        "scoring_func": "softmax", "norm_topk_prob": false, "routed_scaling_factor": 1.0,
        "kv_lora_rank": 512, "q_lora_rank": null, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "v_head_dim": 128, "max_position_embeddings": 163840, "rope_theta": 10000, "rope_scaling": {
            "beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707, "mscale_all_dim": 0.707,
            "original_max_position_embeddings": 4096, "type": "yarn"}})");
    CHECK(count(lite) == 15'706'484'224);
    CHECK(lite.sizes.query_latent_width == 0);
    CHECK(lite.sizes.head_width == 192);
    CHECK(lite.sizes.rotary_width == 64);
    CHECK(lite.sizes.shared_hidden == 2816);
    CHECK(lite.sizes.dense_layers.count(27) == 1);
    // Of the layers after the first ones only every other is a mixture.
    const Architecture sparse = found(small("deepseek_v2", R"("moe_intermediate_size": 8,
        "first_k_dense_replace": 1, "moe_layer_freq": 2)"));
    for (int layer = 0; layer < 6; ++layer)
        CHECK(sparse.sizes.dense_layers.has(layer) == (layer != 2 && layer != 4));
    CHECK(lite.sizes.rotary_scaling.score_factor() == doctest::Approx(1.5896261));

    const Architecture v3 = found(R"({"model_type": "deepseek_v3", "vocab_size": 129280,
        "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
        "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
        "first_k_dense_replace": 3, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "topk_method": "noaux_tc",
        "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5,
        "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
        "v_head_dim": 128, "max_position_embeddings": 163840, "num_nextn_predict_layers": 1})");
    CHECK(count(v3) == 671'026'419'200);
    CHECK(v3.sizes.expert_groups == 8);
    CHECK(v3.sizes.chosen_groups == 4);
    CHECK(v3.sizes.dense_layers.count(61) == 3);
    CHECK(v3.sizes.normalized_experts);
    CHECK(
        message_for(small("deepseek_v3", R"("moe_intermediate_size": 1073741824, "n_shared_experts": 2)")) ==
        "config.json: n_shared_experts: expected widths below 2^31 of it, got 2147483648");
    CHECK(message_for(small("deepseek_v2", R"("moe_intermediate_size": 8, "topk_method": "noaux_tc")")) ==
          "config.json: topk_method: expected greedy or group_limited_greedy of deepseek_v2, as others are "
          "not supported, got noaux_tc");
}

TEST_CASE("layers may be listed, each with a window or without") {
    const auto listed = [](const char* types) {
        return small("qwen3",
                     std::string(R"("use_sliding_window": true, "sliding_window": 7, "layer_types": [)") +
                         types + "]");
    };
    const char* const six = R"("full_attention", "sliding_attention", "full_attention", "full_attention",
                               "sliding_attention", "full_attention")";
    const TransformerSizes sizes = found(listed(six)).sizes;
    for (int layer = 0; layer < 6; ++layer)
        CHECK(sizes.window_of(layer) == (layer == 1 || layer == 4 ? 7 : 0));
    CHECK(message_for(listed(R"("full_attention")")) ==
          "config.json: layer_types: expected 6 elements, one for each layer, got 1");
    CHECK(message_for(listed(R"("full_attention", "chunked_attention")")) ==
          "config.json: layer_types.1: expected full_attention or sliding_attention, got chunked_attention");
    CHECK(message_for(small("qwen3", std::string(R"("layer_types": [)") + six + "]")) ==
          "config.json: sliding_window: expected a number, as layer_types names sliding_attention");
    std::string deep = small("qwen3");
    deep.replace(deep.find("_layers\": 6"), 11, "_layers\": 257");
    CHECK(message_for(deep) ==
          "config.json: num_hidden_layers: expected at most 256, as layers differ, got 257");
}

TEST_CASE("scaled positions make room for the longer sequences that they are for") {
    const auto context = [](const char* scaling) {
        return found(small("llama", std::string(R"("rope_scaling": )") + scaling)).sizes.context;
    };
    CHECK(context("null") == 64);
    CHECK(context(R"({"rope_type": "linear", "factor": 2.5})") == 160);
    CHECK(context(R"({"type": "dynamic", "factor": 2})") == 128);
    CHECK(context(R"({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64})") == 256);
    CHECK(context(R"({"type": "yarn", "original_max_position_embeddings": 16})") == 64);
}

TEST_CASE("an unknown architecture is named, with those that are supported") {
    CHECK(message_for(small("bart")) ==
          "config.json: model_type: expected one of cs336, deepseek_v2, deepseek_v3, gemma2, gemma3_text, "
          "gpt2, gpt_neox, llama, mistral, mixtral, olmo2, olmoe, phi3, qwen2, qwen3, qwen3_moe, smollm3, "
          "bert, got bart");
    CHECK_FALSE(find_architecture(configuration(small("bart")).table()));
    CHECK(find_architecture(configuration(small("bart")).table()).name.empty());
}

TEST_CASE("encoders are found as decoders are, and neither is taken for the other") {
    const Architecture bert = found(small("bert", R"("type_vocab_size": 3, "layer_norm_eps": 1e-6)"));
    CHECK(bert.is_encoder);
    CHECK(bert.sizes.token_types == 3);
    CHECK(bert.sizes.norm_epsilon == 1e-6);
    CHECK(bert.sizes.tied);
    CHECK(visit_encoder(bert, []<class A>(A) { return A::name; }) == "bert");
    CHECK_FALSE(found(small("llama")).is_encoder);
    const auto words = [](auto run) {
        try {
            run();
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    const auto ignore = []<class A>(A) {};
    CHECK(words([&] { visit_architecture(bert, ignore); }) ==
          "expected a decoder, which writes text, got bert, an encoder");
    CHECK(words([&] { visit_encoder(found(small("llama")), ignore); }) ==
          "expected an encoder, got llama, a decoder");
    CHECK(message_for(small("bert", R"("is_decoder": true)")) ==
          "config.json: is_decoder: expected false of bert, as others are not supported, got true");
}

TEST_CASE("a setting with a value that is not supported is named") {
    CHECK(message_for(small("llama")) == "");
    CHECK(message_for(small("llama", R"("hidden_act": "gelu")")) ==
          "config.json: hidden_act: expected silu of llama, as others are not supported, got gelu");
    CHECK(message_for(small("qwen3", R"("attention_bias": true)")) ==
          "config.json: attention_bias: expected false of qwen3, as others are not supported, got true");
    CHECK(message_for(small("gpt_neox", R"("use_parallel_residual": false)")) ==
          "config.json: use_parallel_residual: expected true of gpt_neox, as others are not supported, got "
          "false");
    CHECK(message_for(small("gemma3_text", R"("attn_logit_softcapping": 50.0)")) ==
          "config.json: attn_logit_softcapping: expected null of gemma3_text, as others are not supported, "
          "got a real");
    CHECK(message_for(small("mistral", R"("quantization_config": {"quant_method": "gptq"})")) ==
          "config.json: quantization_config: expected none, as it is not supported");
    const Architecture other =
        find_architecture(configuration(small("llama", R"("mlp_bias": true)")).table());
    CHECK_FALSE(other);
    CHECK(other.name == "llama");
}

TEST_CASE("rotary settings that are unknown, missing or out of range are named") {
    const auto with = [](const char* scaling) {
        return message_for(small("llama", std::string(R"("rope_scaling": )") + scaling));
    };
    CHECK(with(R"({"rope_type": "proportional", "factor": 2})") ==
          "config.json: rope_scaling.rope_type: expected default, linear, dynamic, yarn, longrope or llama3, "
          "got proportional");
    CHECK(with(R"({"rope_type": "linear", "factor": 2, "mrope_section": [16, 24, 24]})") ==
          "config.json: rope_scaling.mrope_section.0: expected no such setting of rotary positions: it is "
          "not supported");
    CHECK(with(R"({"rope_type": "linear"})") ==
          "config.json: rope_scaling.factor: expected a positive number, got 0.000000");
    CHECK(with(R"({"rope_type": "linear", "factor": 1e300})") ==
          "config.json: rope_scaling.factor: expected a positive number, got " + std::to_string(1e300));
    CHECK(with(R"({"rope_type": "llama3", "factor": 8})") ==
          "config.json: rope_scaling.low_freq_factor: expected a positive number, got 0.000000");
    CHECK(with(R"({"rope_type": "longrope", "short_factor": [1, 1], "long_factor": [1, 1, 1, 1]})") ==
          "config.json: rope_scaling.short_factor: expected 4 numbers, got 2.000000");
    CHECK(message_for(small("llama", R"("partial_rotary_factor": 1.5)")) ==
          "config.json: rope_parameters.partial_rotary_factor: expected a number above 0, at most 1, got "
          "1.500000");
    CHECK(message_for(small("phi3", R"("rope_scaling": {"type": "linear", "factor": 2})")) ==
          "config.json: rope_scaling: expected the type default or longrope of phi3, got another");
}

TEST_CASE("architectures with the same features share what is compiled for them") {
    const auto index = [](const char* type) {
        return visit_architecture(found(small(type)), []<class A>(A) { return A::name; });
    };
    for (const char* type : {"llama", "mistral", "phi3", "smollm3"}) CHECK(index(type) == "cs336");
    CHECK(index("qwen2") == "qwen2");
    static_assert(!same_features<Gemma2::Features, Gemma3::Features>);
}
