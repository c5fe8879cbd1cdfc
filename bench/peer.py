"""The PyTorch model that tenon's training steps are compared with, and how times are taken on a GPU."""
import os
import statistics

import torch
import torch.nn as nn
import torch.nn.functional as F


class Experts(nn.Module):
    """A mixture of experts in bfloat16, dropless: rows sorted by expert, one product of groups for each matrix."""

    def __init__(self, width, hidden, experts, chosen):
        super().__init__()
        self.chosen, self.router = chosen, nn.Linear(width, experts, bias=False)
        self.gate_up = nn.Parameter(0.02 * torch.randn(experts, 2 * hidden, width))
        self.down = nn.Parameter(0.02 * torch.randn(experts, width, hidden))

    def forward(self, x):
        tokens = x.flatten(0, 1)
        weights, experts = F.softmax(self.router(tokens).float(), -1).topk(self.chosen, -1)
        order = experts.flatten().argsort()
        ends = torch.bincount(experts.flatten(), minlength=len(self.down)).cumsum(0).to(torch.int32)
        rows = tokens[order // self.chosen].to(torch.bfloat16)
        gate, up = torch._grouped_mm(rows, self.gate_up.to(rows.dtype).transpose(-2, -1), offs=ends).chunk(2, -1)
        y = torch._grouped_mm(F.silu(gate) * up, self.down.to(rows.dtype).transpose(-2, -1), offs=ends)
        y = y * weights.flatten()[order, None]
        # Back to where the rows came from: a permutation, so that no sums race.
        y = y[order.argsort()].unflatten(0, (-1, self.chosen)).sum(1)
        return y.view(x.shape)


class Block(nn.Module):
    def __init__(self, width, heads, hidden, llama, experts=0, chosen=0):
        super().__init__()
        self.heads, self.llama = heads, llama
        self.experts = Experts(width, hidden, experts, chosen) if experts else None
        self.query_norm, self.key_norm = (nn.RMSNorm(width) for _ in range(2)) if experts else (None, None)
        norm = nn.RMSNorm if llama else nn.LayerNorm
        self.norm1, self.norm2 = norm(width), norm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=not llama), nn.Linear(width, width, bias=not llama)
        if not experts:
            self.up = nn.Linear(width, 2 * hidden if llama else hidden, bias=not llama)
            self.down = nn.Linear(hidden, width, bias=not llama)

    def forward(self, x, cos, sin):
        batch, time, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(width, 2)
        if self.experts:
            q, k = self.query_norm(q).to(v.dtype), self.key_norm(k).to(v.dtype)
        q, k, v = (t.view(batch, time, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        if self.llama:
            q, k = turn(q, cos, sin), turn(k, cos, sin)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, time, width))
        if self.experts:
            return x + self.experts(self.norm2(x))
        h = self.up(self.norm2(x))
        if self.llama:
            gate, up = h.chunk(2, -1)
            return x + self.down(F.silu(gate) * up)
        return x + self.down(F.gelu(h, approximate="tanh"))


class Model(nn.Module):
    """GPT-2's features, or Llama's, or with experts OLMoE's; returns the loss."""

    def __init__(self, vocabulary, context, width, depth, heads, hidden, llama, experts=0, chosen=0):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = None if llama else nn.Embedding(context, width)
        self.norm = nn.RMSNorm(width) if llama else nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, llama, experts, chosen) for _ in range(depth))
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
