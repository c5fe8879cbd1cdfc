"""Writes `checkpoint`: the smallest that embedded_app can hold, for its test. A Llama of random parameters whose
tokens are the 256 bytes and <|endoftext|>."""

import json
import pathlib
import random
import struct

width, heads, hidden, vocabulary = 16, 2, 24, 257
folder = pathlib.Path(__file__).parent / "checkpoint"
random.seed(1)

configuration = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocabulary,
    "max_position_embeddings": 64, "hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": heads,
    "num_key_value_heads": 1, "head_dim": width // heads, "intermediate_size": hidden, "eos_token_id": 256,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
    "tie_word_embeddings": True, "dtype": "float32",
}
(folder / "config.json").write_text(json.dumps(configuration, indent=2) + "\n")

# GPT-2's alphabet: bytes that are no printable characters are written as those from 256 on.
printable = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
others = [byte for byte in range(256) if byte not in printable]
tokens = [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]
names = {token: i for i, token in enumerate([*tokens, "<|endoftext|>"])}
(folder / "vocab.json").write_text(json.dumps(names, ensure_ascii=False) + "\n", encoding="utf-8")
(folder / "merges.txt").write_text("#version: 0.2\n")

layer, narrow = "model.layers.0.", width // heads
shapes = {
    "model.embed_tokens.weight": [vocabulary, width], "model.norm.weight": [width],
    layer + "input_layernorm.weight": [width], layer + "post_attention_layernorm.weight": [width],
    layer + "self_attn.q_proj.weight": [width, width], layer + "self_attn.k_proj.weight": [narrow, width],
    layer + "self_attn.v_proj.weight": [narrow, width], layer + "self_attn.o_proj.weight": [width, width],
    layer + "mlp.gate_proj.weight": [hidden, width], layer + "mlp.up_proj.weight": [hidden, width],
    layer + "mlp.down_proj.weight": [width, hidden],
}
header, elements = {}, b""
for name, shape in shapes.items():
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    values = [random.gauss(0, 0.5) if len(shape) > 1 else random.uniform(0.5, 1.5) for _ in range(count)]
    begin = len(elements)
    elements += struct.pack(f"<{count}f", *values)
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(elements)]}
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
(folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + elements)
