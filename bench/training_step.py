"""Compares a training step with PyTorch's, eager and compiled, on the same cores in the same run.

usage: training_step.py PROGRAM   (PROGRAM: the compiled training_step.cpp; needs PyTorch)
Prints medians of five steps, and the ratio of PyTorch's better median to tenon's: above 1, tenon is faster.
"""
import re, statistics, subprocess, sys, time

import torch
import torch.nn as nn
import torch.nn.functional as F

vocabulary, context, width, depth, heads, hidden, batch = 10_000, 256, 512, 4, 16, 1344, 8


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 2 * hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin):
        q, k, v = (t.view(batch, context, heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(width, 2))

        def turn(t):
            a, b = t[..., ::2], t[..., 1::2]
            return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)

        attended = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, context, width))
        gate, up = self.up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(vocabulary, width), nn.RMSNorm(width)
        self.blocks = nn.ModuleList(Block() for _ in range(depth))
        self.head = nn.Linear(width, vocabulary, bias=False)
        size = width // heads
        angles = torch.outer(torch.arange(context).float(), 10_000 ** (-torch.arange(0, size, 2).float() / size))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), ids.flatten())


def torch_milliseconds(threads, compiled):
    torch.set_num_threads(threads)
    torch._dynamo.reset()
    model = Model()
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=True)
    ids = torch.randint(0, vocabulary, (batch, context))
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        run(ids).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times[1:])


print(f"PyTorch {torch.__version__}")
for threads in (1, 2):
    output = subprocess.run([sys.argv[1], str(threads)], check=True, capture_output=True, text=True).stdout
    own = float(re.search(r"([\d.]+) ms", output).group(1))
    eager = torch_milliseconds(threads, False)
    try:
        compiled = torch_milliseconds(threads, True)
    except Exception as error:  # no compiler for it, for example
        print(f"torch.compile: {type(error).__name__}")
        compiled = float("inf")
    print(f"{threads} threads: tenon {own:.0f} ms, eager {eager:.0f} ms, compiled {compiled:.0f} ms; ratio {min(eager, compiled) / own:.2f}", flush=True)
