#!/usr/bin/env python3
"""Makes model.safetensors and values.safetensors of this folder: what the first assignment's functions return for
random inputs, by PyTorch in f32, tiktoken, and a byte-pair training written as simply as can be.

    TENON_GPT2=folder python make_values.py       (torch, safetensors, tiktoken, regex)

The folder has GPT-2's vocab.json and merges.txt.

The sizes are the assignment's: 4 sequences, 12 queries, 16 keys, width 64, 4 heads, 3 layers, hidden width 128,
context 16, rotary base 10,000; only the vocabulary is smaller, to keep the files small.
"""
import math, os, pathlib, random

import regex, tiktoken, torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

HERE = pathlib.Path(__file__).parent
VOCABULARY, WIDTH, HEADS, LAYERS, HIDDEN, CONTEXT, BASE = 160, 64, 4, 3, 128, 16, 10_000.0
BATCH, QUERIES, KEYS = 4, 12, 16
END = "<|endoftext|>"
torch.manual_seed(336)
torch.set_num_threads(1)
values = {}


def matrix(rows, columns):
    deviation = math.sqrt(2 / (rows + columns))
    return torch.nn.init.trunc_normal_(torch.empty(rows, columns), std=deviation, a=-3 * deviation, b=3 * deviation)


def rms_norm(x, gain, epsilon=1e-5):
    return F.rms_norm(x, (x.shape[-1],), gain, epsilon)


def rotate(x, positions):
    """Turns the pairs (0, 1), (2, 3) … of x [..., time, width] by `positions` [..., time]."""
    frequencies = BASE ** (-torch.arange(0, x.shape[-1], 2, dtype=torch.float64) / x.shape[-1])
    angles = positions.double()[..., None] * frequencies
    turned = torch.view_as_complex(x.double().reshape(*x.shape[:-1], -1, 2)) * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(-2).float()


def self_attention(x, weights, prefix, rope):
    q, k, v = (F.linear(x, weights[f"{prefix}{name}_proj.weight"]).unflatten(-1, (HEADS, -1)).transpose(1, 2)
               for name in "qkv")
    if rope:
        positions = torch.arange(x.shape[1])
        q, k = rotate(q, positions), rotate(k, positions)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return F.linear(y.transpose(1, 2).flatten(-2), weights[f"{prefix}output_proj.weight"])


def swiglu(x, weights, prefix):
    w1, w2, w3 = (weights[f"{prefix}w{i}.weight"] for i in (1, 2, 3))
    return F.linear(F.silu(F.linear(x, w1)) * F.linear(x, w3), w2)


def block(x, weights, prefix):
    x = x + self_attention(rms_norm(x, weights[prefix + "ln1.weight"]), weights, prefix + "attn.", True)
    return x + swiglu(rms_norm(x, weights[prefix + "ln2.weight"]), weights, prefix + "ffn.")


def language_model(ids, weights):
    x = F.embedding(ids, weights["token_embeddings.weight"])
    for layer in range(LAYERS):
        x = block(x, weights, f"layers.{layer}.")
    return F.linear(rms_norm(x, weights["ln_final.weight"]), weights["lm_head.weight"])


def make_layers():
    weights = {"token_embeddings.weight": torch.randn(VOCABULARY, WIDTH)}
    for layer in range(LAYERS):
        prefix = f"layers.{layer}."
        for name in "q", "k", "v", "output":
            weights[f"{prefix}attn.{name}_proj.weight"] = matrix(WIDTH, WIDTH)
        weights[prefix + "ffn.w1.weight"] = matrix(HIDDEN, WIDTH)
        weights[prefix + "ffn.w2.weight"] = matrix(WIDTH, HIDDEN)
        weights[prefix + "ffn.w3.weight"] = matrix(HIDDEN, WIDTH)
        weights[prefix + "ln1.weight"] = 1 + 0.2 * torch.randn(WIDTH)
        weights[prefix + "ln2.weight"] = 1 + 0.2 * torch.randn(WIDTH)
    weights["ln_final.weight"] = 1 + 0.2 * torch.randn(WIDTH)
    weights["lm_head.weight"] = matrix(VOCABULARY, WIDTH)

    embeddings = torch.randn(BATCH, QUERIES, WIDTH)
    ids = torch.randint(0, VOCABULARY, (BATCH, QUERIES))
    first = "layers.0."
    values.update({
        "in_embeddings": embeddings, "in_indices": ids,
        "linear": F.linear(embeddings, weights[first + "ffn.w1.weight"]),
        "embedding": F.embedding(ids, weights["token_embeddings.weight"]),
        "rmsnorm": rms_norm(embeddings, weights[first + "ln1.weight"]),
        "silu": F.silu(embeddings), "swiglu": swiglu(embeddings, weights, first + "ffn."),
        "multihead_self_attention": self_attention(embeddings, weights, first + "attn.", False),
        "multihead_self_attention_with_rope": self_attention(embeddings, weights, first + "attn.", True),
        "transformer_block": block(embeddings, weights, first),
        "transformer_lm": language_model(ids, weights),
        "transformer_lm_truncated": language_model(ids[:, :QUERIES // 2], weights),
    })
    save_file({name: weight.contiguous() for name, weight in weights.items()}, HERE / "model.safetensors")


def make_attention():
    q, k, v = torch.randn(BATCH, QUERIES, WIDTH), torch.randn(BATCH, KEYS, WIDTH), torch.randn(BATCH, KEYS, WIDTH)
    mask = torch.randn(BATCH, QUERIES, KEYS) > 0.5
    mask[..., 0] = True  # every query may attend to something
    positions = torch.stack([torch.randperm(CONTEXT)[:QUERIES] for _ in range(BATCH)])
    by_head = lambda x: x.unflatten(0, (2, 2))  # [batch / 2, 2 heads, time, width]
    attend = lambda *x: F.scaled_dot_product_attention(*x[:3], attn_mask=x[3])
    values.update({
        "q": q, "k": k, "v": v, "mask": mask, "token_positions": positions,
        "rope": rotate(q, torch.arange(QUERIES)), "rope_positions": rotate(q, positions),
        "scaled_dot_product_attention": attend(q, k, v, mask),
        "scaled_dot_product_attention_4d": attend(by_head(q), by_head(k), by_head(v), by_head(mask)),
    })


def make_softmax_and_loss():
    x = torch.rand(3, 5)
    logits, targets = torch.randn(8, 5), torch.randint(0, 5, (8,))
    values.update({"softmax.x": x, "softmax.0": x.softmax(0), "softmax.1": x.softmax(1),
                   "cross_entropy.logits": logits, "cross_entropy.targets": targets,
                   "cross_entropy": F.cross_entropy(logits, targets),
                   "cross_entropy_of_large": F.cross_entropy(1000 * logits, targets)})


def make_optimizer():
    model = torch.nn.Linear(3, 2, bias=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    inputs = torch.rand(1000, 3)
    values.update({"adamw.inputs": inputs, "adamw.first": model.weight.detach().clone()})
    for x in inputs:
        optimizer.zero_grad()
        y = torch.stack([x[0] + x[1], -x[2]])
        ((y - model(x)) ** 2).sum().backward()
        optimizer.step()
    values["adamw.last"] = model.weight.detach().clone()

    gradients = 0.1 * torch.randn(6, 5, 5)
    parameters = [torch.nn.Parameter(torch.zeros(5, 5)) for _ in gradients]
    for parameter, gradient in zip(parameters[:-1], gradients):  # the last one is frozen
        parameter.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(parameters, 1e-2)
    values.update({"clip.gradients": gradients, "clip.clipped": torch.stack([p.grad for p in parameters[:-1]])})

    # A rise over 7 steps, then PyTorch's own cosine over 14, in closed form.
    some = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(some, T_max=14, eta_min=0.1)
    rates = []
    for step in range(25):
        cosine.last_epoch = min(step - 7, 14)
        rates.append(step / 7 if step < 7 else cosine._get_closed_form_lr()[0])
    values["lr_cosine_schedule"] = torch.tensor(rates, dtype=torch.float64)


GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

SPEECH = """Three winters ago the people of this valley built a bridge, and they built it of stone, because wood
had failed them twice. Now the river has risen again; the question before us is whether what was built will stand.

It is not for those who speak here to praise it. The masons who carried the stones, living and dead, have praised it
better than words can. It's for us, rather, to keep open what they have opened: that a road made by many hands, and
owned by none of them, shall be walked by all who come after.
"""
GERMAN = """Das Haus der Großmutter stand am Fluß, zwischen Äckern und Öfen, in denen früher Ziegel gebrannt wurden.
Übermorgen, sagte sie, höre der Regen auf; und wirklich: nach zwölf Tagen schien die Sonne über den Dächern von
Weißenfels. »Schön ist's«, rief der Müller, »doch das Korn ist naß, und für 1 000 € kauft es mir keiner ab!«
"""
STORY = f"""Once upon a time there was a little boat named Pim. Pim lived in a big blue bay with his friend, a gull.
One day Pim said, "I want to see the other side!" The gull didn't know the way, but she flew up, up, up and looked.
"Follow the sun," she said. So they did, and they saw a whale, and the whale said hello. The end.
{END}
Lily had a red ball.   She lost it in the tall grass.\tHer dog, Max, found it and ran, ran, ran!
"You're a good dog," said Lily. They went home and ate soup 🙂, and they slept well.

{END}"""
TEXTS = {"empty": "", "letter": "s", "emoji": "🙃", "ascii": "Hello, how are you?", "unicode": "Héllò hôw are ü? 🙃",
         "special": f"Héllò hôw {END}{END} are ü? 🙃{END}", "newlines": f"{END}\n\n", "newlines_and_text": f"{END}\n\ntesting!",
         "speech": SPEECH, "german": GERMAN, "story": STORY}


def training_text():
    """Made-up words, the rarer the longer, so that many pairs are equally frequent; texts of ours between them."""
    rng = random.Random(336)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "ü", "eß", "文")]
    words = ["".join(rng.choices(syllables, k=1 + i // 60)) for i in range(300)]
    weights = [1 / (1 + i) for i in range(len(words))]
    parts = list(TEXTS.values())
    for _ in range(60):
        parts.append(" ".join(rng.choices(words, weights, k=rng.randrange(5, 60))) + rng.choice([".", "!\n", "? 12\n\n", END]))
    return "\n".join(parts)


def train_bpe(text, vocabulary_size, special):
    """All pairs are counted anew for each merge. Of equals the greater pair of byte strings is merged."""
    words = {}
    for part in regex.split("|".join(map(regex.escape, special)), text):
        for word in regex.findall(GPT2_PATTERN, part):
            key = tuple(bytes([b]) for b in word.encode())
            words[key] = words.get(key, 0) + 1
    merges = []
    while len(merges) < vocabulary_size - 256 - len(special):
        counts = {}
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + count
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        merged = {}
        for word, count in words.items():
            result, i = [], 0
            while i < len(word):
                step = 2 if word[i:i + 2] == best else 1
                result.append(b"".join(word[i:i + step]))
                i += step
            merged[tuple(result)] = merged.get(tuple(result), 0) + count
        words = merged
    return merges


def as_bytes(text):
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def make_tokens():
    text = training_text()
    merges = train_bpe(text, 600, [END])
    tokens = [bytes([b]) for b in range(256)] + [left + right for left, right in merges]
    id_of = {token: i for i, token in enumerate(tokens)}
    assert len(id_of) == len(tokens)
    values["bpe.text"] = as_bytes(text)
    values["bpe.merges"] = torch.tensor([[id_of[left], id_of[right]] for left, right in merges])

    ours = tiktoken.Encoding("ours", pat_str=GPT2_PATTERN, mergeable_ranks=id_of, special_tokens={END: len(tokens)})
    folder = os.environ["TENON_GPT2"]
    ranks = data_gym_to_mergeable_bpe_ranks(f"{folder}/merges.txt", f"{folder}/vocab.json")
    gpt2 = tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={END: len(ranks)})
    for name, sample in TEXTS.items():
        values[f"text.{name}"] = as_bytes(sample)
        for encoding in ours, gpt2:
            values[f"{encoding.name}.{name}"] = torch.tensor(encoding.encode(sample, allowed_special="all"), dtype=torch.int64)
    # Of special tokens that overlap the longest counts.
    double = tiktoken.Encoding("double", pat_str=GPT2_PATTERN, mergeable_ranks=id_of,
                               special_tokens={END + END: len(tokens) + 1})
    sample = f"Hello, how {END}{END} are you?{END}"
    head, tail = double.encode(sample.removesuffix(END), allowed_special="all"), [len(tokens)]
    values["text.overlapping"] = as_bytes(sample)
    values["ours.overlapping"] = torch.tensor(head + tail)


make_layers()
make_attention()
make_softmax_and_loss()
make_optimizer()
make_tokens()
save_file({name: value.contiguous() for name, value in values.items()}, HERE / "values.safetensors")
