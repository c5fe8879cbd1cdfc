"""Makes fixtures/gguf_NAME of architectures whose GGUF files differ most from Hugging Face's:
`python make_gguf_forms.py [NAME]... [--all FOLDER]` (gguf, NumPy, PyTorch, transformers, safetensors).

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
latent = sizes | dict(hidden_size=32, num_key_value_heads=4, num_experts_per_tok=2, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=8,
                        kv_lora_rank=10, first_k_dense_replace=1, moe_intermediate_size=14, n_shared_experts=2)
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
    "mixtral_numbered": ("Mixtral", mixture | dict(sliding_window=None), "llama", Type.F16),
    "deepseek_v2": ("DeepseekV2", latent | dict(
        n_routed_experts=6, q_lora_rank=None, topk_method="group_limited_greedy", n_group=3, topk_group=2,
        routed_scaling_factor=1.5, max_position_embeddings=64, rope_parameters=rope(
            100.0, "yarn", factor=4.0, original_max_position_embeddings=16, mscale=0.707, mscale_all_dim=0.707)),
        "deepseek2", Type.F32),
    "deepseek_v3": ("DeepseekV3", latent | dict(
        n_routed_experts=8, q_lora_rank=11, n_group=4, topk_group=2, num_experts_per_tok=3, n_shared_experts=1,
        norm_topk_prob=True, routed_scaling_factor=2.5, num_hidden_layers=3), "deepseek2", Type.F32),
    "bert": ("Bert", dict(vocab_size=47, hidden_size=20, intermediate_size=26, num_hidden_layers=2, num_attention_heads=4,
                          max_position_embeddings=32, initializer_range=0.2, type_vocab_size=2), "bert", Type.F32),
    "smollm3": ("SmolLM3", sizes | dict(num_hidden_layers=5, tie_word_embeddings=True), "smollm3", Type.F32),
}
kept = ["bert", "deepseek_v2", "deepseek_v3", "gemma3", "gptneox", "mixtral", "mixtral_numbered", "phi3"]
# Before files had a tensor of all experts, and a matrix for each head of latent attention.
numbered, joined_heads = {"mixtral_numbered"}, {"deepseek_v2"}


def make_model(name):
    kind, numbers, _, weight_type = models[name]
    torch.manual_seed(7)
    config = getattr(transformers, kind + "Config")(**numbers, attn_implementation="eager", experts_implementation="eager")
    if kind == "Bert":
        model = transformers.BertModel(config, add_pooling_layer=False).float().eval()
    else:
        model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for key, bias in model.named_buffers():
            if key.endswith("e_score_correction_bias"):
                bias += 0.3 * torch.randn_like(bias)
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


def converted(name, config, model, architecture):
    """The names and tensors of the GGUF file."""
    numbers_experts, joins_heads = name in numbered, name in joined_heads
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
        if numbers_experts and ".experts." in name:
            block = "blk." + name.split(".")[2]
            for expert, matrix in enumerate(weights):
                parts = dict(zip(("gate", "up"), np.split(matrix, 2))) if "gate_up" in name else dict(down=matrix)
                for part, rows in parts.items():
                    stored[f"{block}.ffn_{part}.{expert}.weight"] = rows
            continue
        if layer == "kv_b_proj" and not joins_heads:
            by_head = weights.reshape(config.num_attention_heads, -1, config.kv_lora_rank)
            keys, values = np.split(by_head, [config.qk_nope_head_dim], axis=1)
            for part, matrices in ("k_b", keys.swapaxes(1, 2)), ("v_b", values):
                stored[names.get_name(name.replace("kv_b_proj.weight", part + "_proj")) + ".weight"] = matrices
            continue
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
    for name, bias in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            stored[names.get_name(name.removesuffix("_bias")) + ".bias"] = bias.numpy()
    return stored


def add_rotary(writer, config, stored):
    parameters = config.rope_parameters
    swa, parameters = parameters.get("sliding_attention"), parameters.get("full_attention", parameters)
    base, kind = parameters["rope_theta"], parameters["rope_type"]
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = int(head * parameters.get("partial_rotary_factor", 1))
    if hasattr(config, "kv_lora_rank"):
        width = config.qk_rope_head_dim
    writer.add_rope_dimension_count(width)
    if base != 10000.0:
        writer.add_rope_freq_base(base)
    assert swa is None or swa["rope_theta"] == 10000.0
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        writer.add_rope_scaling_factor(parameters["factor"])
    if kind in ("yarn", "longrope"):
        writer.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])
    if "mscale_all_dim" in parameters:
        writer.add_rope_scaling_yarn_log_mul(0.1 * parameters["mscale_all_dim"])
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


def add_latent(writer, config, joins_heads):
    heads, stored = config.qk_nope_head_dim + config.qk_rope_head_dim, config.kv_lora_rank + config.qk_rope_head_dim
    writer.add_head_count_kv(config.num_attention_heads if joins_heads else 1)
    writer.add_key_length(heads if joins_heads else stored)
    writer.add_value_length(config.v_head_dim if joins_heads else config.kv_lora_rank)
    if not joins_heads:
        writer.add_key_length_mla(heads)
        writer.add_value_length_mla(config.v_head_dim)
    writer.add_kv_lora_rank(config.kv_lora_rank)
    if config.q_lora_rank:
        writer.add_q_lora_rank(config.q_lora_rank)
    writer.add_vocab_size(config.vocab_size)
    writer.add_leading_dense_block_count(config.first_k_dense_replace)
    writer.add_expert_count(config.n_routed_experts)
    writer.add_expert_shared_count(config.n_shared_experts)
    writer.add_expert_group_count(config.n_group)
    writer.add_expert_group_used_count(config.topk_group)
    writer.add_expert_weights_scale(config.routed_scaling_factor)
    if config.model_type == "deepseek_v3":
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        writer.add_expert_weights_norm(config.norm_topk_prob)


def add_reference(config, model, folder):
    model = model.double()
    with torch.no_grad():
        ids = torch.randint(0, config.vocab_size, (2, 11))
        if config.model_type == "bert":
            mask = torch.tensor([[1] * 11, [1] * 7 + [0] * 4])
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            expected = dict(input_ids=ids, attention_mask=mask, last_hidden_state=states.float())
        else:
            logits = model(ids).logits
            prompt = torch.randint(0, config.vocab_size, (1, 5))
            tokens = prompt
            while tokens.shape[1] < 20:
                tokens = torch.cat([tokens, model(tokens).logits[:, -1:].argmax(-1)], 1)
            expected = dict(input_ids=ids, logits=logits.float(), prompt=prompt, generated=tokens.contiguous())
    save_file(expected, folder / "reference.safetensors")


def write(name, folder):
    config, model = make_model(name)
    _, _, architecture, weight_type = models[name]
    stored = converted(name, config, model, architecture)
    folder.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(folder / "model.gguf", architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    if config.model_type in ("gpt_neox", "bert"):
        writer.add_layer_norm_eps(config.layer_norm_eps)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if config.model_type == "gpt_neox":
        writer.add_parallel_residual(True)
    elif config.model_type == "bert":
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.MEAN)
        letters = [mark + letter for letter in "abcdefghijklmnopqrstu" for mark in ("\u2581", "")]
        writer.add_tokenizer_model("bert")
        writer.add_token_list(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters)
        writer.add_token_types([gguf.TokenType.CONTROL] * 5 + [gguf.TokenType.NORMAL] * len(letters))
        for token, add in enumerate((writer.add_pad_token_id, writer.add_unk_token_id, writer.add_bos_token_id,
                                     writer.add_sep_token_id, writer.add_mask_token_id)):
            add(token)
    elif hasattr(config, "kv_lora_rank"):
        add_latent(writer, config, name in joined_heads)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
    if getattr(config, "head_dim", None) and not hasattr(config, "kv_lora_rank"):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if getattr(config, "num_experts_per_tok", None):
        if not hasattr(config, "n_routed_experts"):
            writer.add_expert_count(getattr(config, "num_local_experts", None) or config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if hasattr(config, "moe_intermediate_size"):
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    if getattr(config, "attn_logit_softcapping", None):
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if config.model_type != "bert":
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

    add_reference(config, model, folder)


if sys.argv[1:2] == ["--all"]:
    for name in models:
        write(name, pathlib.Path(sys.argv[2]) / f"gguf_{name}")
else:
    for name in sys.argv[1:] or kept:
        write(name, pathlib.Path(__file__).parent / "fixtures" / f"gguf_{name}")
