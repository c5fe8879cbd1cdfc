"""The PyTorch model that tenon's training steps are compared with, and how times are taken on a GPU."""
import os
import statistics

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, width, heads, hidden, llama):
        super().__init__()
        self.heads, self.llama = heads, llama
        norm = nn.RMSNorm if llama else nn.LayerNorm
        self.norm1, self.norm2 = norm(width), norm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=not llama), nn.Linear(width, width, bias=not llama)
        self.up = nn.Linear(width, 2 * hidden if llama else hidden, bias=not llama)
        self.down = nn.Linear(hidden, width, bias=not llama)

    def forward(self, x, cos, sin):
        batch, time, width = x.shape
        q, k, v = (t.view(batch, time, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(width, 2))
        if self.llama:
            q, k = turn(q, cos, sin), turn(k, cos, sin)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, time, width))
        h = self.up(self.norm2(x))
        if self.llama:
            gate, up = h.chunk(2, -1)
            return x + self.down(F.silu(gate) * up)
        return x + self.down(F.gelu(h, approximate="tanh"))


class Model(nn.Module):
    """GPT-2's features, or Llama's; returns the loss."""

    def __init__(self, vocabulary, context, width, depth, heads, hidden, llama):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = None if llama else nn.Embedding(context, width)
        self.norm = nn.RMSNorm(width) if llama else nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, llama) for _ in range(depth))
        self.head = nn.Linear(width, vocabulary, bias=False)
        if not llama:
            self.head.weight = self.embedding.weight
        cos, sin = rotary_table(context, width // heads)
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)

    def forward(self, ids, targets):
        time = ids.shape[1]
        x = self.embedding(ids)
        if self.positions is not None:
            x = x + self.positions.weight[:time]
        for block in self.blocks:
            x = block(x, self.cos[:time], self.sin[:time])
        return self.loss(x, targets)

    def loss(self, x, targets):
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1).float(), targets.flatten())

    def compile_blockwise(self):
        """One block for all, and the loss: minutes less where blocks are many."""
        for block in self.blocks:
            block.compile()
        self.loss = torch.compile(self.loss)


def rotary_table(positions, width):
    angles = torch.outer(torch.arange(positions).float(), 10_000 ** (-torch.arange(0, width, 2).float() / width))
    return angles.cos(), angles.sin()


def turn(x, cos, sin):
    """RoPE of pairs that lie together."""
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


def time_of_one(f):
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    f()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def milliseconds(f, warm=3, repeats=15, ahead=True):
    """The median time of f() on the GPU. The host runs `ahead` of it, so that only the GPU's time counts.

    With BENCH_WAITS in the environment each run begins when the one before is over: the host's time counts, too.
    """
    for _ in range(warm):
        f()
    if "BENCH_WAITS" in os.environ:
        return statistics.median(time_of_one(f) for _ in range(repeats))
    events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    if ahead:
        torch.cuda._sleep(100_000_000)
    for event in events[:-1]:
        event.record()
        f()
    events[-1].record()
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in zip(events, events[1:]))
