"""Compares training steps on a GPU with PyTorch's, eager and compiled, in the same run.

usage: training_step.py PROGRAM [MODEL...]   (PROGRAM: the compiled training_step.cu; needs PyTorch)
MODEL: gpt2, llama, tinystories and xl (all). Each program runs in a process of its own. Prints medians of 15 steps in
tokens a second, the ratio of tenon's to that of compiled PyTorch, and the most memory that tensors took. PyTorch runs
under autocast to bfloat16: its weights, their gradients and the residual stream are float32, what matrix products
read and write is bfloat16. tenon's residual stream and gradients of activations are bfloat16, too.
"""
import re, statistics, subprocess, sys

models = {  # vocabulary, time, width, depth, heads, hidden, is Llama-like, batch
    "gpt2": (50_304, 1024, 768, 12, 12, 3072, False, 32),
    "llama": (32_000, 512, 768, 12, 12, 2048, True, 64),
    "tinystories": (10_000, 256, 512, 4, 16, 1344, True, 256),
    "xl": (32_000, 512, 1600, 48, 25, 4288, True, 8),
}


def torch_step(name, compiled):
    """Runs in a process of its own: prints tokens a second, gibibytes, and the attention that ran."""
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    vocabulary, time, width, depth, heads, hidden, llama, batch = models[name]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            norm = nn.RMSNorm if llama else nn.LayerNorm
            self.norm1, self.norm2 = norm(width), norm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width, bias=not llama), nn.Linear(width, width, bias=not llama)
            self.up = nn.Linear(width, 2 * hidden if llama else hidden, bias=not llama)
            self.down = nn.Linear(hidden, width, bias=not llama)

        def forward(self, x, cos, sin):
            q, k, v = (t.view(batch, time, heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(width, 2))

            def turn(t):
                a, b = t[..., ::2], t[..., 1::2]
                return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(t.dtype)

            if llama:
                q, k = turn(q), turn(k)
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(attended.transpose(1, 2).reshape(batch, time, width))
            h = self.up(self.norm2(x))
            if llama:
                gate, up = h.chunk(2, -1)
                return x + self.down(F.silu(gate) * up)
            return x + self.down(F.gelu(h, approximate="tanh"))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, width)
            self.positions = None if llama else nn.Embedding(time, width)
            self.norm = nn.RMSNorm(width) if llama else nn.LayerNorm(width)
            self.blocks = nn.ModuleList(Block() for _ in range(depth))
            self.head = nn.Linear(width, vocabulary, bias=False)
            if not llama:
                self.head.weight = self.embedding.weight
            size = width // heads
            angles = torch.outer(torch.arange(time).float(), 10_000 ** (-torch.arange(0, size, 2).float() / size))
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())

        def forward(self, ids, targets):
            x = self.embedding(ids)
            if self.positions is not None:
                x = x + self.positions.weight
            for block in self.blocks:
                x = block(x, self.cos, self.sin)
            return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1).float(), targets.flatten())

    torch.manual_seed(0)
    model = Model().cuda()
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids, targets = (torch.randint(0, vocabulary, (batch, time), device="cuda") for _ in range(2))

    def step():
        with torch.autocast("cuda", torch.bfloat16):
            loss = run(ids, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(4):
        step()
    torch.cuda.synchronize()
    times = []
    for _ in range(15):
        begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
        begin.record()
        step()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    memory = torch.cuda.max_memory_allocated() / 2**30
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        step()
        torch.cuda.synchronize()
    kernels = {e.key for e in recorded.key_averages() if re.search("flash|fmha|sdpa|cudnn", e.key, re.IGNORECASE)}
    attention = "FlashAttention" if any("flash" in k.lower() for k in kernels) else ", ".join(k[:60] for k in kernels)
    print(f"{batch * time / statistics.median(times) * 1e3:.0f} tok/s, {memory:.2f} GiB, attention: {attention}")


def run(command):
    output = subprocess.run(command, capture_output=True, text=True)
    if output.returncode:
        print(f"{' '.join(command[-3:])}: {(output.stderr.strip() or 'failed').splitlines()[-1]}", flush=True)
        return float("nan"), float("nan"), ""
    text = output.stdout.strip().splitlines()[-1]
    rate, memory = (float(re.search(pattern, text).group(1)) for pattern in (r"([\d.]+) tok/s", r"([\d.]+) GiB"))
    return rate, memory, text


def main():
    program, *chosen = sys.argv[1:]
    for name in chosen or models:
        own, own_memory, line = run([program, name])
        print(line, flush=True)
        eager, eager_memory, _ = run([sys.executable, __file__, "--torch", name, "eager"])
        compiled, compiled_memory, line = run([sys.executable, __file__, "--torch", name, "compiled"])
        print(
            f"{name}: tenon {own:.0f} tok/s, {own_memory:.2f} GiB; torch.compile {compiled:.0f}, {compiled_memory:.2f}"
            f" GiB ({line.partition('attention: ')[2]}); eager {eager:.0f}, {eager_memory:.2f} GiB;"
            f" ratio to compiled {own / compiled:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1] == "--torch":
        torch_step(sys.argv[2], sys.argv[3] == "compiled")
    else:
        main()
