"""Makes fixtures/gguf_NAME of architectures whose GGUF files differ most from Hugging Face's:
`python make_gguf_forms.py [--all FOLDER]` (gguf, NumPy, PyTorch, transformers, safetensors).

Small models of random weights as llama.cpp's converter writes them, in F32 or quantized, and what transformers
computes from the same weights in float64. With --all every architecture goes to FOLDER instead.
"""
import math
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from safetensors.torch import save_file

sizes = dict(vocab_size=47, hidden_size=16, intermediate_size=22, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=32, initializer_range=0.2, bos_token_id=1, eos_token_id=2,
             pad_token_id=None, tie_word_embeddings=False)
mixture = sizes | dict(hidden_size=32, num_experts=5, num_local_experts=5, num_experts_per_tok=2)
gemma = sizes | dict(head_dim=6, query_pre_attn_scalar=6, sliding_window=5, tie_word_embeddings=True)
rope = lambda base, kind="default", **numbers: dict(rope_theta=base, rope_type=kind) | numbers

# Of each: the class of its configuration, its numbers, GGUF's name, and the type of matrices.
models = {
    "llama3": ("Llama", sizes | dict(rope_parameters=rope(
        100.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32),
        max_position_embeddings=256), "llama", Type.F32),
    "llama_linear": ("Llama", sizes | dict(rope_parameters=rope(100.0, "linear", factor=2.5)), "llama", Type.F32),
    "llama_yarn": ("Llama", sizes | dict(rope_parameters=rope(
        100.0, "yarn", factor=4.0, original_max_position_embeddings=16)), "llama", Type.F32),
    "mistral": ("Mistral", sizes | dict(head_dim=6, sliding_window=None), "llama", Type.BF16),
    "mixtral": ("Mixtral", mixture | dict(intermediate_size=64, sliding_window=None), "llama", Type.Q8_0),
    "qwen2": ("Qwen2", sizes | dict(tie_word_embeddings=True), "qwen2", Type.F32),
    "qwen3": ("Qwen3", sizes | dict(head_dim=6), "qwen3", Type.F32),
    "qwen3moe": ("Qwen3Moe", mixture | dict(head_dim=6, moe_intermediate_size=10, norm_topk_prob=True), "qwen3moe",
                 Type.F32),
    "gemma2": ("Gemma2", gemma | dict(attn_logit_softcapping=2.0, final_logit_softcapping=3.0), "gemma2", Type.F32),
    "gemma3": ("Gemma3Text", gemma | dict(num_hidden_layers=7, rope_parameters={
        "full_attention": rope(1000.0, "linear", factor=4.0), "sliding_attention": rope(10000.0)}), "gemma3", Type.F16),
    "olmo2": ("Olmo2", sizes, "olmo2", Type.F32),
    "olmoe": ("Olmoe", mixture | dict(norm_topk_prob=False), "olmoe", Type.F32),
    "phi3": ("Phi3", sizes | dict(hidden_size=32, original_max_position_embeddings=8, rope_parameters=rope(
        100.0, "longrope", partial_rotary_factor=0.75, long_factor=[1.0, 2.0, 4.5], short_factor=[1.0, 1.1, 1.3],
        original_max_position_embeddings=8), sliding_window=None), "phi3", Type.F32),
    "gptneox": ("GPTNeoX", sizes | dict(hidden_size=32, rope_parameters=rope(10000.0, partial_rotary_factor=0.25)),
                "gptneox", Type.F32),
    "smollm3": ("SmolLM3", sizes | dict(num_hidden_layers=5, tie_word_embeddings=True), "smollm3", Type.F32),
}
kept = ["gemma3", "gptneox", "mixtral", "phi3"]


def make_model(name):
    kind, numbers, _, weight_type = models[name]
    torch.manual_seed(7)
    config = getattr(transformers, kind + "Config")(**numbers, attn_implementation="eager", experts_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
            if parameter.ndim > 1:  # as it will be read
                rows = parameter.numpy().reshape(-1, parameter.shape[-1])
                if rows.shape[1] % gguf.GGML_QUANT_SIZES[weight_type][0] == 0:
                    rows = gguf.dequantize(gguf.quantize(rows, weight_type), weight_type)
                    parameter.copy_(torch.from_numpy(rows.reshape(parameter.shape)))
    return config, model


def paired(rows, count):
    """Halves of each of `count` heads become neighbours."""
    return rows.reshape(count, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def converted(config, model, architecture):
    """The names and tensors of the GGUF file."""
    names = gguf.get_tensor_name_map(next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == architecture),
                                     config.num_hidden_layers)
    stored = {}
    for name, parameter in model.named_parameters():
        weights = parameter.detach().numpy()
        layer = name.split(".")[-2]
        if config.model_type in ("llama", "mistral", "mixtral", "smollm3") and layer in ("q_proj", "k_proj"):
            weights = paired(weights, config.num_attention_heads if layer == "q_proj" else config.num_key_value_heads)
        if config.model_type.startswith("gemma") and "norm" in layer:
            weights = weights + 1
        if layer == "query_key_value":
            by_head = weights.reshape(config.num_attention_heads, 3, -1, *weights.shape[1:])
            weights = by_head.swapaxes(0, 1).reshape(weights.shape)
        if name.endswith("experts.gate_up_proj"):
            gate, up = np.split(weights, 2, axis=1)
            prefix = name.removesuffix("gate_up_proj")
            stored[names.get_name(prefix + "gate_proj") + ".weight"] = gate
            stored[names.get_name(prefix + "up_proj") + ".weight"] = up
            continue
        if name.endswith("experts.down_proj"):
            name += ".weight"
        if config.model_type == "mixtral":
            name = name.replace("mlp.gate.", "block_sparse_moe.gate.")
        stored[names.get_name(name, try_suffixes=(".weight", ".bias"))] = weights
    return stored


def add_rotary(writer, config, stored):
    parameters = config.rope_parameters
    swa, parameters = parameters.get("sliding_attention"), parameters.get("full_attention", parameters)
    base, kind = parameters["rope_theta"], parameters["rope_type"]
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = int(head * parameters.get("partial_rotary_factor", 1))
    writer.add_rope_dimension_count(width)
    if base != 10000.0:
        writer.add_rope_freq_base(base)
    assert swa is None or swa["rope_theta"] == 10000.0
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(parameters["factor"])
    if kind in ("yarn", "longrope"):
        writer.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])
    if kind == "longrope":
        original = parameters["original_max_position_embeddings"]
        growth = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(growth) / math.log(original)))
        for length in ("long", "short"):
            stored[f"rope_factors_{length}.weight"] = np.array(parameters[length + "_factor"], np.float32)
    if kind == "llama3":
        frequencies = base ** -(np.arange(0, width, 2) / width)
        turns = parameters["original_max_position_embeddings"] * frequencies / (2 * math.pi)
        low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
        share = np.clip((turns - low) / (high - low), 0, 1)
        stored["rope_freqs.weight"] = (1 / ((1 - share) / parameters["factor"] + share)).astype(np.float32)


def write(name, folder):
    config, model = make_model(name)
    _, _, architecture, weight_type = models[name]
    stored = converted(config, model, architecture)
    folder.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(folder / "model.gguf", architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    if config.model_type == "gpt_neox":
        writer.add_layer_norm_eps(config.layer_norm_eps)
        writer.add_parallel_residual(True)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if getattr(config, "head_dim", None):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if getattr(config, "num_experts_per_tok", None):
        writer.add_expert_count(config.num_local_experts if hasattr(config, "num_local_experts") else config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if hasattr(config, "moe_intermediate_size"):
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    if getattr(config, "attn_logit_softcapping", None):
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    add_rotary(writer, config, stored)
    for key, weights in stored.items():
        blocks = weights.shape[-1] % gguf.GGML_QUANT_SIZES[weight_type][0] == 0
        kind = weight_type if weights.ndim > 1 and blocks and "ffn_gate_inp" not in key else Type.F32
        weights = np.ascontiguousarray(weights, np.float32)
        writer.add_tensor(key, gguf.quantize(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    model = model.double()
    with torch.no_grad():
        ids = torch.randint(0, config.vocab_size, (2, 11))
        logits = model(ids).logits
        prompt = torch.randint(0, config.vocab_size, (1, 5))
        tokens = prompt
        while tokens.shape[1] < 20:
            tokens = torch.cat([tokens, model(tokens).logits[:, -1:].argmax(-1)], 1)
    save_file({"input_ids": ids, "logits": logits.float(), "prompt": prompt, "generated": tokens.contiguous()},
              folder / "reference.safetensors")


if sys.argv[1:2] == ["--all"]:
    for name in models:
        write(name, pathlib.Path(sys.argv[2]) / f"gguf_{name}")
else:
    for name in kept:
        write(name, pathlib.Path(__file__).parent / "fixtures" / f"gguf_{name}")
