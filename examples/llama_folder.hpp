#pragma once

#include <concepts>
#include <cstdio>
#include <string>

#include <tenon/io/parameters.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/model/llama.hpp>
#include <tenon/tokenizer/tokenizer.hpp>
#include <tenon/tokenizer/write_vocabulary_files.hpp>

#include "texts.hpp"

/// Writes a model as Hugging Face's checkpoints of Llama are, and its tokenizer as GPT-2's: config.json,
/// model.safetensors, vocab.json and merges.txt. The configuration goes first and comes last, so that a
/// folder that has one is whole.
template <class Model>
void save_llama(Model& model, const tenon::Tokenizer& tokenizer, const std::string& folder) {
    static_assert(tenon::same_features<typename Model::Configuration, tenon::Llama::Features>,
                  "save_llama: the model has features that a Llama does not have");
    const tenon::TransformerSizes& sizes = model.sizes;
    if (sizes.rotary_pairs != tenon::RotaryPairs::half_split || sizes.window != 0 ||
        sizes.attention_scale != 0 || sizes.attention_soft_cap != 0 || sizes.logit_scale != 1 ||
        sizes.logit_soft_cap != 0 || sizes.base_width != 0 || sizes.rotary_width != sizes.head_width ||
        sizes.rotary_scaling.kind != tenon::RotaryScalingKind::none ||
        sizes.unturned_layers != tenon::LayerSet())
        throw tenon::Error(
            "save_llama: expected half-split rotary pairs of whole heads in all layers, unscaled, and no "
            "window, scale, soft cap or base width: a Llama has none");
    using T = typename Model::Value;
    const char* const dtype = std::same_as<T, tenon::bf16>  ? "bfloat16"
                              : std::same_as<T, tenon::f16> ? "float16"
                                                            : "float32";
    std::remove((folder + "/config.json").c_str());
    tenon::create_folder(folder);
    tenon::write_gpt2_files(tokenizer, folder);
    tenon::save_parameters(model, folder + "/model.safetensors", tenon::Llama::names);
    std::string text = "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n";
    const auto integer = [&](const char* key, int value) {
        text += "  \"" + std::string(key) + "\": " + std::to_string(value) + ",\n";
    };
    const auto real = [&](const char* key, double value) {
        text += "  \"" + std::string(key) + "\": ";
        tenon::append_json_number(text, value);
        text += ",\n";
    };
    integer("vocab_size", sizes.vocabulary);
    integer("max_position_embeddings", sizes.context);
    integer("hidden_size", sizes.width);
    integer("num_hidden_layers", sizes.depth);
    integer("num_attention_heads", sizes.heads);
    integer("num_key_value_heads", sizes.key_value_heads);
    integer("head_dim", sizes.head_width);
    integer("intermediate_size", sizes.hidden);
    if (const auto end = tokenizer.token_id(end_of_text)) {
        integer("bos_token_id", static_cast<int>(*end));
        integer("eos_token_id", static_cast<int>(*end));
    }
    real("rms_norm_eps", sizes.norm_epsilon);
    real("rope_theta", sizes.rotary_base);
    text += "  \"hidden_act\": \"silu\",\n  \"attention_bias\": false,\n  \"mlp_bias\": false,\n";
    text += std::string("  \"tie_word_embeddings\": ") + (sizes.tied ? "true" : "false") +
            ",\n  \"dtype\": \"" + dtype + "\"\n}\n";
    tenon::write_file(folder + "/config.json", text);
}
