"""Makes the small reference fixtures of this folder: `python make_fixtures.py [NAME]...` (PyTorch, transformers,
safetensors).

Each folder holds config.json, weights, and what PyTorch computes from them in float32; the weights are random, and
perturbed so that no norm's gain is 1 and no bias is 0.
"""
import json, math, pathlib, sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import (AutoModelForCausalLM, BertConfig, BertForMaskedLM, BertModel, CONFIG_MAPPING, GPT2Config,
                          GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM)

here = pathlib.Path(__file__).parent / "fixtures"


def make_checkpoint(name, seed, config, kind, length=13, generated=20):
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    torch.manual_seed(seed)
    folder = here / name
    model = kind(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for name, bias in model.named_buffers():  # of routers
            if name.endswith("e_score_correction_bias"):
                bias += 0.3 * torch.randn_like(bias)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)

    ids = torch.randint(0, config.vocab_size, (3, length))
    result = model(ids, labels=ids)
    result.loss.backward()
    tied = config.tie_word_embeddings
    gradients = {k: p.grad.clone() for k, p in model.named_parameters() if not (tied and k == "lm_head.weight")}
    prompt = torch.randint(0, config.vocab_size, (1, 5))
    tokens = prompt
    with torch.no_grad():
        while tokens.shape[1] < generated:
            tokens = torch.cat([tokens, model(tokens).logits[:, -1:].argmax(-1)], 1)
    save_file(gradients, folder / "grads.safetensors")
    save_file({"input_ids": ids, "logits": result.logits.detach(), "loss": result.loss.detach().reshape(1),
               "prompt": prompt, "generated": tokens.contiguous()}, folder / "reference.safetensors")


def make_llama(name, seed, **sizes):
    config = LlamaConfig(max_position_embeddings=32, initializer_range=0.2, attn_implementation="eager",
                         bos_token_id=1, eos_token_id=2, **sizes)
    make_checkpoint(name, seed, config, LlamaForCausalLM)


def make_gpt2(name, seed, **sizes):
    config = GPT2Config(initializer_range=0.2, attn_implementation="eager", bos_token_id=1, eos_token_id=2, **sizes)
    make_checkpoint(name, seed, config, GPT2LMHeadModel)


def make_decoder(name, seed, kind, length=13, generated=20, **sizes):
    """Any other architecture of transformers, small; `sizes` say what is not as in the others."""
    config = CONFIG_MAPPING[kind](**dict(
        vocab_size=47, hidden_size=16, intermediate_size=22, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, initializer_range=0.2, attn_implementation="eager",
        bos_token_id=1, eos_token_id=2, pad_token_id=None) | sizes)
    make_checkpoint(name, seed, config, AutoModelForCausalLM.from_config, length, generated)


def make_encoder(name, seed, kind, mask, length=13, **sizes):
    """BERT; `mask(sequence, position)` says where tokens are. What predicts masked tokens has loss and gradients."""
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    torch.manual_seed(seed)
    folder = here / name
    config = BertConfig(**dict(
        vocab_size=47, hidden_size=20, intermediate_size=26, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=32, initializer_range=0.2, attn_implementation="eager") | sizes)
    model = kind(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)

    tokens = torch.tensor([[mask(sequence, position) for position in range(length)] for sequence in range(3)])
    # Token 0 is padding: elsewhere PyTorch would give it no gradient.
    ids = torch.randint(1, config.vocab_size, (3, length)) * tokens
    types = torch.randint(0, config.type_vocab_size, (3, length))
    inputs = dict(input_ids=ids, attention_mask=tokens.long(), token_type_ids=types)
    encoder = model.bert if kind is BertForMaskedLM else model
    states = encoder(**inputs)
    expected = inputs | dict(last_hidden_state=states.last_hidden_state.detach())
    if states.pooler_output is not None:
        expected |= dict(pooler_output=states.pooler_output.detach())
    if kind is BertForMaskedLM:
        labels = torch.where(tokens & (torch.rand(3, length) < 0.4), torch.randint(0, config.vocab_size, (3, length)), -100)
        result = model(**inputs, labels=labels)
        result.loss.backward()
        gradients = {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}
        save_file(gradients, folder / "grads.safetensors")
        expected |= dict(labels=labels, logits=result.logits.detach(), loss=result.loss.detach().reshape(1))
    save_file({k: v.contiguous() for k, v in expected.items()}, folder / "reference.safetensors")


def rms_norm(x, gain, epsilon):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * gain


def rotate(x, base):
    """Turns interleaved pairs of x [batch, heads, time, width] by their positions."""
    width, time = x.shape[-1], x.shape[-2]
    angles = torch.outer(torch.arange(time).float(), base ** (-torch.arange(0, width, 2).float() / width))
    even, odd = x[..., ::2], x[..., 1::2]
    turned = even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()
    return torch.stack(turned, -1).flatten(-2)


def logits_of(p, c, ids):
    x = p["token_embeddings.weight"][ids]
    batch, time = ids.shape
    split = lambda t: t.view(batch, time, c["num_heads"], -1).transpose(1, 2)
    for i in range(c["num_layers"]):
        w = lambda part: p[f"layers.{i}.{part}.weight"]
        h = rms_norm(x, w("ln1"), c["norm_eps"])
        q, k, v = (split(h @ w(f"attn.{part}_proj").T) for part in "qkv")
        scores = rotate(q, c["rope_theta"]) @ rotate(k, c["rope_theta"]).transpose(-1, -2) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(torch.ones(time, time).triu(1).bool(), -torch.inf)
        x = x + (scores.softmax(-1) @ v).transpose(1, 2).flatten(2) @ w("attn.output_proj").T
        h = rms_norm(x, w("ln2"), c["norm_eps"])
        x = x + (F.silu(h @ w("ffn.w1").T) * (h @ w("ffn.w3").T)) @ w("ffn.w2").T
    return rms_norm(x, p["ln_final.weight"], c["norm_eps"]) @ p["lm_head.weight"].T


def rate_of(c, step):
    if step < c["warmup"]:
        return c["max_lr"] * step / c["warmup"]
    done = min(1.0, (step - c["warmup"]) / (c["cosine_end"] - c["warmup"]))
    return c["min_lr"] + 0.5 * (1 + math.cos(math.pi * done)) * (c["max_lr"] - c["min_lr"])


def make_trajectory(name, seed):
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    torch.manual_seed(seed)
    folder = here / name
    folder.mkdir(parents=True, exist_ok=True)
    c = dict(vocab_size=53, context_length=11, d_model=24, num_layers=2, num_heads=3, d_ff=40, rope_theta=500.0,
             batch_size=3, steps=20, max_lr=0.004, min_lr=0.0002, warmup=4, cosine_end=16, betas=[0.9, 0.95],
             eps=1e-8, weight_decay=0.1, grad_clip=1.0, norm_eps=1e-5)
    (folder / "config.json").write_text(json.dumps(c, indent=1) + "\n")
    width, hidden, vocabulary = c["d_model"], c["d_ff"], c["vocab_size"]
    shapes = {"token_embeddings.weight": (vocabulary, width), "lm_head.weight": (vocabulary, width),
              "ln_final.weight": (width,)}
    for i in range(c["num_layers"]):
        shapes |= {f"layers.{i}.attn.{part}_proj.weight": (width, width) for part in ("q", "k", "v", "output")}
        shapes |= {f"layers.{i}.ffn.{part}.weight": (hidden, width) for part in ("w1", "w3")}
        shapes |= {f"layers.{i}.ffn.w2.weight": (width, hidden)} | {f"layers.{i}.ln{j}.weight": (width,) for j in (1, 2)}
    p = {k: (torch.randn(s) * s[-1] ** -0.5 if len(s) == 2 else 1 + 0.1 * torch.randn(s)).requires_grad_() for k, s in shapes.items()}
    save_file({k: v.detach().clone() for k, v in p.items()}, folder / "init.safetensors")
    optimizer = torch.optim.AdamW(p.values(), lr=0.0, betas=c["betas"], eps=c["eps"], weight_decay=c["weight_decay"])
    ids = torch.randint(0, vocabulary, (c["steps"], c["batch_size"], c["context_length"] + 1))
    inputs, targets = ids[..., :-1].contiguous(), ids[..., 1:].contiguous()
    losses, norms, rates = [], [], []
    for step in range(c["steps"]):
        logits = logits_of(p, c, inputs[step])
        loss = F.cross_entropy(logits.flatten(0, 1), targets[step].flatten())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            first_logits = logits.detach().clone()
            save_file({k: v.grad.clone() for k, v in p.items()}, folder / "grads_step0.safetensors")
        norms.append(torch.nn.utils.clip_grad_norm_(p.values(), c["grad_clip"]).item())
        rates.append(rate_of(c, step))
        optimizer.param_groups[0]["lr"] = rates[-1]
        optimizer.step()
        losses.append(loss.item())
    save_file({k: v.detach().clone() for k, v in p.items()}, folder / "final.safetensors")
    save_file({"inputs": inputs, "targets": targets, "logits_step0": first_logits, "losses": torch.tensor(losses),
               "grad_norms": torch.tensor(norms), "lrs": torch.tensor(rates)}, folder / "trajectory.safetensors")


make_llama("llama_wide_heads", 1, vocab_size=67, hidden_size=36, intermediate_size=50, num_hidden_layers=2,
           num_attention_heads=6, num_key_value_heads=3, head_dim=10, rms_norm_eps=1e-5, rope_theta=500.0)
make_llama("llama_one_group_tied", 2, vocab_size=61, hidden_size=32, intermediate_size=44, num_hidden_layers=1,
           num_attention_heads=4, num_key_value_heads=1, tie_word_embeddings=True)
make_trajectory("cs336_short", 3)
make_gpt2("gpt2_odd_heads", 4, vocab_size=59, n_positions=20, n_embd=21, n_layer=2, n_head=3, n_inner=34,
          tie_word_embeddings=False)

def make_scaled_llama(name, seed, scaling, **sizes):
    make_decoder(name, seed, "llama", head_dim=12, rope_parameters=dict(rope_theta=100.0) | scaling, **sizes)


# Of each architecture what it has: windows shorter than the sequences, free head widths, biases, norms.
make_decoder("mistral_window", 5, "mistral", sliding_window=5, head_dim=6, rms_norm_eps=1e-5)
make_decoder("qwen2_biases", 6, "qwen2", tie_word_embeddings=True)
make_decoder("qwen2_late_window", 7, "qwen2", num_hidden_layers=3, use_sliding_window=True, sliding_window=4,
             max_window_layers=2)
make_decoder("qwen3_window", 8, "qwen3", head_dim=6, use_sliding_window=True, sliding_window=6,
             layer_types=["sliding_attention", "full_attention"], rope_theta=1e6)

make_scaled_llama("llama_scaled_linear", 9, dict(rope_type="linear", factor=2.5))
# Frequencies grow with the sequence from the 9th token on; generation ends before, as keys in a cache would not grow.
make_scaled_llama("llama_scaled_dynamic", 10, dict(rope_type="dynamic", factor=3.0), max_position_embeddings=8,
                  generated=8)
make_scaled_llama("llama_scaled_yarn", 11, dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16),
                  max_position_embeddings=64)
make_scaled_llama("llama_scaled_llama3", 12, dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                  high_freq_factor=4.0, original_max_position_embeddings=32), max_position_embeddings=256)
make_decoder("gemma2_small_caps", 13, "gemma2", head_dim=6, sliding_window=5, query_pre_attn_scalar=10,
             attn_logit_softcapping=2.0, final_logit_softcapping=3.0)
make_decoder("gemma3_two_bases", 14, "gemma3_text", num_hidden_layers=3, head_dim=6, sliding_window=5,
             query_pre_attn_scalar=10, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
             rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=30.0),
                                  full_attention=dict(rope_type="linear", factor=4.0, rope_theta=1000.0)))
make_decoder("olmo2_grouped", 15, "olmo2")
make_decoder("phi3_window", 16, "phi3", sliding_window=6)
# Divisors of long sequences hold from the 9th token on, in the midst of generation.
make_decoder("phi3_long_factors", 17, "phi3", hidden_size=32, original_max_position_embeddings=8,
             rope_parameters=dict(rope_type="longrope", rope_theta=100.0, partial_rotary_factor=0.75,
                                  short_factor=[1.0, 1.1, 1.3], long_factor=[1.0, 2.0, 4.5]))
make_decoder("gpt_neox_quarter", 18, "gpt_neox", hidden_size=32, num_attention_heads=2, rope_parameters=dict(
             rope_type="default", rope_theta=100.0, partial_rotary_factor=0.25))
make_decoder("smollm3_alternating", 19, "smollm3", num_hidden_layers=3, no_rope_layers=[1, 0, 1],
             tie_word_embeddings=True)

# Mixtures of experts, with weights that add up to 1 and that do not.
make_decoder("mixtral_window", 20, "mixtral", experts_implementation="eager", num_local_experts=5, num_experts_per_tok=3, sliding_window=5)
make_decoder("olmoe_normalized", 21, "olmoe", experts_implementation="eager", num_experts=6, num_experts_per_tok=2, norm_topk_prob=True)
make_decoder("olmoe_plain", 22, "olmoe", experts_implementation="eager", num_experts=4, num_experts_per_tok=3, num_key_value_heads=4)
make_decoder("qwen3_moe_small", 23, "qwen3_moe", experts_implementation="eager", head_dim=6, num_experts=7, num_experts_per_tok=3,
             moe_intermediate_size=10, norm_topk_prob=True, mlp_only_layers=[], decoder_sparse_step=1)
make_decoder("qwen3_moe_dense_layers", 29, "qwen3_moe", experts_implementation="eager", num_hidden_layers=4, num_experts=4,
             num_experts_per_tok=2, moe_intermediate_size=10, mlp_only_layers=[3], decoder_sparse_step=2)


def make_deepseek(name, seed, kind, **sizes):
    """Latent attention: widths that differ, and are odd where transformers can; the first layer is dense."""
    odd = kind == "deepseek_v3"
    make_decoder(name, seed, kind, **dict(
        experts_implementation="eager", num_key_value_heads=4, first_k_dense_replace=1, moe_intermediate_size=10,
        n_routed_experts=6, num_experts_per_tok=2, n_shared_experts=2, qk_nope_head_dim=6 - odd, qk_rope_head_dim=4,
        v_head_dim=7, kv_lora_rank=10 - odd, q_lora_rank=11) | sizes)


make_deepseek("deepseek_v2_lite", 24, "deepseek_v2", q_lora_rank=None, routed_scaling_factor=1.5)
make_deepseek("deepseek_v2_groups", 25, "deepseek_v2", topk_method="group_limited_greedy", n_routed_experts=9, n_group=3,
              topk_group=2, num_experts_per_tok=4, routed_scaling_factor=4.0, num_hidden_layers=3)
make_deepseek("deepseek_v2_yarn", 26, "deepseek_v2", first_k_dense_replace=0, attention_bias=True, max_position_embeddings=64,
              rope_parameters=dict(rope_type="yarn", rope_theta=100.0, factor=4.0, original_max_position_embeddings=16,
                                   beta_fast=32, beta_slow=1, mscale=0.707, mscale_all_dim=0.707))
make_deepseek("deepseek_v3_groups", 27, "deepseek_v3", n_routed_experts=12, n_group=4, topk_group=2, num_experts_per_tok=3)
make_deepseek("deepseek_v3_yarn", 28, "deepseek_v3", n_group=1, topk_group=1, q_lora_rank=None, norm_topk_prob=False,
              attention_bias=True, rope_interleave=False, max_position_embeddings=64, n_shared_experts=1,
              rope_parameters=dict(rope_type="yarn", rope_theta=100.0, factor=4.0, original_max_position_embeddings=16,
                                   mscale=1.0, mscale_all_dim=0.8))

# Encoders, with the heads that they are published with, and padding behind, before and amid the tokens.
make_encoder("bert_pooler", 24, BertModel, lambda sequence, position: position < 13 - 4 * sequence,
             num_hidden_layers=3, hidden_size=21, num_attention_heads=3, type_vocab_size=3, layer_norm_eps=1e-5)
make_encoder("bert_without_pooler", 25, lambda config: BertModel(config, add_pooling_layer=False),
             lambda sequence, position: position >= 5 * sequence, type_vocab_size=1)
make_encoder("bert_masked_lm", 26, BertForMaskedLM, lambda sequence, position: sequence == 0 or position % 4 != sequence)
make_encoder("bert_masked_lm_untied", 27, BertForMaskedLM, lambda sequence, position: position < 9 + sequence,
             num_hidden_layers=1, tie_word_embeddings=False)
