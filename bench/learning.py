"""Trains the model of examples/train_lm.cpp and the same model in PyTorch, on the same tokens, for the same time.

usage: learning.py TRAIN_LM TEXT [--minutes 10] [--threads 2] [--out FOLDER]   (needs PyTorch and NumPy)
THREADS: of PyTorch; tenon takes one for each core.
Both have CS336's initializers, batches of 4 x 256 tokens, AdamW (beta2 0.95, decay 0.1), a cosine schedule over the
time with 3 % of warmup, gradients clipped to a norm of 1, and are judged by the held-out text each minute, on the
clock. PyTorch is compiled, and its clock starts when it is. Prints the best bits per byte of each, and writes both
curves to FOLDER/learning.svg.
"""
import argparse, json, math, os, subprocess, time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

vocabulary, context, width, depth, heads, hidden, batch = 1024, 256, 192, 4, 6, 512, 4  # `Small` of train_lm.cpp


def initialized(*shape, deviation):
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), 0, deviation, -3 * deviation, 3 * deviation))


class Linear(nn.Module):
    def __init__(self, rows, columns):
        super().__init__()
        self.weight = initialized(rows, columns, deviation=math.sqrt(2 / (rows + columns)))

    def forward(self, x):
        return x @ self.weight.T


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.query, self.key, self.value, self.output = (Linear(width, width) for _ in range(4))
        self.gate, self.up, self.down = Linear(hidden, width), Linear(hidden, width), Linear(width, hidden)

    def forward(self, x, cos, sin):
        def by_head(t):
            return t.view(*t.shape[:2], heads, -1).transpose(1, 2)

        def turned(t):
            a, b = t.chunk(2, -1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

        n = self.norm1(x)
        q, k, v = turned(by_head(self.query(n))), turned(by_head(self.key(n))), by_head(self.value(n))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.output(y)
        n = self.norm2(x)
        return x + self.down(F.silu(self.gate(n)) * self.up(n))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = initialized(vocabulary, width, deviation=1)
        self.blocks = nn.ModuleList(Block() for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = Linear(vocabulary, width)
        size = width // heads
        angles = torch.outer(torch.arange(context).float(), 10_000 ** (-torch.arange(0, size, 2).float() / size))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, inputs, targets):
        x = F.embedding(inputs, self.embedding)
        time = inputs.shape[1]
        for block in self.blocks:
            x = block(x, self.cos[:time], self.sin[:time])
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())


def nats_of(model, tokens):
    """The total cross-entropy of all tokens but the first, passage by passage."""
    total = 0.0
    with torch.no_grad():
        for at in range(0, len(tokens) - 1, context):
            targets = tokens[at + 1 : at + 1 + context]
            total += model(tokens[at : at + len(targets)][None], targets[None]).item() * len(targets)
    return total


def train(training, held_out, byte_count, seconds):
    """[[seconds, bits per byte]], judged each minute and at the end."""
    torch.manual_seed(1)
    model = Model()
    compiled = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1, foreach=True)

    def step(rate):
        starts = torch.randint(0, len(training) - context, (batch,))
        passages = torch.stack([training[i : i + context + 1] for i in starts])
        compiled(passages[:, :-1], passages[:, 1:]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()

    step(0.0)
    step(0.0)
    curve, steps, begin, judged = [], 0, time.perf_counter(), 60
    while (now := time.perf_counter() - begin) < seconds:
        done = now / seconds
        rate = 3e-3 * done / 0.03 if done < 0.03 else 1e-4 + 0.5 * (1 + math.cos(math.pi * (done - 0.03) / 0.97)) * 2.9e-3
        step(rate)
        steps += 1
        if now >= judged:
            judged += 60
            curve.append([now, nats_of(model, held_out) / math.log(2) / byte_count])
            print(f"PyTorch {now:.0f} s, {steps} steps: {curve[-1][1]:.4f} bits per byte", flush=True)
    curve.append([seconds, nats_of(model, held_out) / math.log(2) / byte_count])
    print(f"PyTorch: {steps} steps", flush=True)
    return curve


def svg(curves):
    w, h = 640, 360
    points = [p for _, curve in curves for p in curve]
    low, high = min(p[1] for p in points), max(p[1] for p in points)
    end = max(p[0] for p in points)
    x = lambda t: 50 + t / end * (w - 70)
    y = lambda b: 20 + (high - b) / max(high - low, 1e-9) * (h - 60)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif" font-size="12">']
    parts.append(f'<rect width="{w}" height="{h}" fill="white"/>')
    parts += [f'<text x="45" y="{y(b) + 4:.0f}" text-anchor="end">{b:.2f}</text>' for b in (low, (low + high) / 2, high)]
    parts += [f'<text x="{x(t):.0f}" y="{h - 20}" text-anchor="middle">{t / 60:.0f} min</text>' for t in (end / 2, end)]
    for (name, curve), color, line in zip(curves, ("#c03020", "#2050a0"), (40, 58)):
        path = " ".join(f"{x(t):.1f},{y(b):.1f}" for t, b in curve)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{w - 30}" y="{line}" text-anchor="end" fill="{color}">{name}</text>')
    return "\n".join(parts + ["</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("text")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default="learning")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = os.path.join(options.out, "tenon")
    arguments = ["--out", folder, "--minutes", str(options.minutes), "--evaluate-every", "60s", "--checkpoint-every", "0"]
    subprocess.run([options.program, options.text, *arguments], check=True)
    lines = [json.loads(line) for line in open(os.path.join(folder, "metrics.jsonl"))]
    own = [line for line in lines if "held_out_bits_per_byte" in line]
    held_out = torch.from_numpy(np.fromfile(os.path.join(folder, "held_out.tokens"), np.uint16).astype(np.int64))
    training = torch.from_numpy(np.fromfile(os.path.join(folder, "training.tokens"), np.uint16).astype(np.int64))
    byte_count = own[-1]["held_out_loss"] * (len(held_out) - 1) / math.log(2) / own[-1]["held_out_bits_per_byte"]
    last = 60 * options.minutes
    own_curve = [[min(60 * (i + 1), last), line["held_out_bits_per_byte"]] for i, line in enumerate(own)]
    torch_curve = train(training, held_out, byte_count, last)
    best = [min(p[1] for p in curve) for curve in (own_curve, torch_curve)]
    print(f"best held-out bits per byte: tenon {best[0]:.4f}, PyTorch {best[1]:.4f}; difference {best[0] - best[1]:+.4f}")
    with open(os.path.join(options.out, "learning.svg"), "w") as file:
        file.write(svg([("tenon", own_curve), ("PyTorch", torch_curve)]))


main()
