#pragma once

#include <string>

#include <tenon/io/parameters.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/model/llama.hpp>

/// Writes a model as Hugging Face's checkpoints of Llama are: config.json and model.safetensors. The configuration
/// comes last: a folder that has one is whole.
template <class Model>
void save_llama(Model& model, const std::string& folder) {
    const tenon::TransformerSizes& sizes = model.sizes;
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
    real("rms_norm_eps", sizes.norm_epsilon);
    real("rope_theta", sizes.rotary_base);
    text += "  \"hidden_act\": \"silu\",\n  \"attention_bias\": false,\n  \"mlp_bias\": false,\n";
    text += std::string("  \"tie_word_embeddings\": ") + (sizes.tied ? "true" : "false") + ",\n  \"dtype\": \"float32\"\n}\n";
    tenon::write_file(folder + "/config.json", text);
}
