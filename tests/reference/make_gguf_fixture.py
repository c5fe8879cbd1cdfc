"""Makes fixtures/gguf_llama: `python make_gguf_fixture.py` (gguf, NumPy, PyTorch, transformers, safetensors).

A small Llama as llama.cpp's converter writes it, its tensors in every type that gguf can quantize to, and what
transformers computes in float64 from the dequantized weights.
"""
import pathlib

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

width, heads, key_value_heads, hidden, vocabulary, blocks, context = 64, 4, 2, 96, 71, 2, 32
folder = pathlib.Path(__file__).parent / "fixtures" / "gguf_llama"
folder.mkdir(parents=True, exist_ok=True)

torch.manual_seed(5)
config = LlamaConfig(vocab_size=vocabulary, hidden_size=width, intermediate_size=hidden, num_hidden_layers=blocks,
                     num_attention_heads=heads, num_key_value_heads=key_value_heads, tie_word_embeddings=True,
                     max_position_embeddings=context, rms_norm_eps=1e-5, rope_theta=700.0, initializer_range=0.2,
                     attn_implementation="eager")
model = LlamaForCausalLM(config).float().eval()
with torch.no_grad():
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn_like(parameter)

names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
types = [Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.F16, Type.BF16, Type.F32]


def gguf_name(name):
    layer = name.removeprefix("model.").removesuffix(".weight")
    if layer in ("embed_tokens", "norm"):
        return {"embed_tokens": "token_embd", "norm": "output_norm"}[layer] + ".weight"
    _, block, layer = layer.split(".", 2)
    return f"blk.{block}.{names[layer]}.weight"


def paired(rows, count):
    """Halves of each of `count` heads become neighbours."""
    return rows.reshape(count, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def halved(rows, count):
    return rows.reshape(count, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
writer.add_context_length(context)
writer.add_embedding_length(width)
writer.add_block_count(blocks)
writer.add_feed_forward_length(hidden)
writer.add_head_count(heads)
writer.add_head_count_kv(key_value_heads)
writer.add_rope_dimension_count(width // heads)
writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
writer.add_layer_norm_rms_eps(config.rms_norm_eps)
writer.add_array("tokenizer.ggml.tokens", [f"t{i}" for i in range(vocabulary)])
stored, next_type = {}, 0
for name, parameter in model.named_parameters():
    weights = parameter.detach().numpy()
    count = {"q_proj": heads, "k_proj": key_value_heads}.get(name.split(".")[-2])
    if weights.ndim == 1:
        writer.add_tensor(gguf_name(name), weights)
        stored[name] = weights
        continue
    kind = types[next_type % len(types)]
    next_type += 1
    quantized = gguf.quantize(paired(weights, count) if count else weights, kind)
    writer.add_tensor(gguf_name(name), quantized, raw_dtype=kind)
    elements = gguf.dequantize(quantized, kind).reshape(weights.shape)
    stored[name] = halved(elements, count) if count else elements
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

model = model.double()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(stored[name])))
    ids = torch.randint(0, vocabulary, (3, 13))
    logits = model(ids).logits
    prompt = torch.randint(0, vocabulary, (1, 5))
    tokens = prompt
    while tokens.shape[1] < 20:
        tokens = torch.cat([tokens, model(tokens).logits[:, -1:].argmax(-1)], 1)
save_file({"input_ids": ids, "logits": logits.float(), "prompt": prompt, "generated": tokens.contiguous()},
          folder / "reference.safetensors")
