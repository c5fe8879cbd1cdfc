"""Compares tenon's kernels with PyTorch's on the same GPU in the same run.

usage: kernels.py FOLDER [FIGURE...]   (FOLDER: of the compiled programs, gpu_attention and so on; needs PyTorch)
FIGURE: attention, elementwise, optimizer, head and grouped (all). Prints what each program measured and, for each peer, its
number and a ratio, which is above 1 where tenon is better. Both are medians of 15 runs that the host gives to the GPU
ahead of time, or, with BENCH_WAITS=1 in the environment, one by one, so that the host's time counts. The peer is torch.compile unless a row names another.
"""
import os, re, subprocess, sys

import torch
import torch._functorch.config
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import peer
from peer import milliseconds

torch._functorch.config.donated_buffer = False  # backward passes run again on what the forward pass kept


def random(*shape, dtype=torch.bfloat16, scale=1.0):
    return (scale * torch.randn(*shape, device="cuda", dtype=dtype)).requires_grad_()


def passes(f, inputs):
    """Milliseconds of f(), which returns a list, and of its gradients."""
    results = f()
    upstream = [torch.randn_like(y) for y in results]
    forward = milliseconds(f)
    return forward, milliseconds(lambda: torch.autograd.grad(results, inputs, upstream, retain_graph=True))


def attention():
    for width in (64, 128):
        for time in (1024, 4096, 16_384):
            batch, heads = 16_384 // time, 2048 // width
            q, k, v = (random(batch, time, heads, width).transpose(1, 2).detach().requires_grad_() for _ in range(3))
            flops = 2 * batch * heads * time * time * width
            for name, backend in (
                ("FlashAttention", SDPBackend.FLASH_ATTENTION),
                ("FlashAttention, deterministic", SDPBackend.FLASH_ATTENTION),
                ("cuDNN", SDPBackend.CUDNN_ATTENTION),
            ):
                torch.use_deterministic_algorithms("deterministic" in name)
                with sdpa_kernel(backend):
                    f = lambda: [F.scaled_dot_product_attention(q, k, v, is_causal=True)]
                    forward, backward = passes(f, (q, k, v))
                yield f"width {width}, time {time}, forward", name, flops / forward / 1e9
                yield f"width {width}, time {time}, backward", name, 2.5 * flops / backward / 1e9
    torch.use_deterministic_algorithms(False)


def elementwise():
    rows, width = 65_536, 2048
    x, y, gain, bias = random(rows, width), random(rows, width), random(width), random(width)
    functions = {
        "RMSNorm": (lambda x, gain: F.rms_norm(x, (width,), gain, 1e-5), (x, gain)),
        "LayerNorm": (lambda x, gain, bias: F.layer_norm(x, (width,), gain, bias), (x, gain, bias)),
        "softmax": (lambda x: F.softmax(x, -1), (x,)),
        "SwiGLU": (lambda x, y: F.silu(x) * y, (x, y)),
        "tanh(x * y + 0.5) * x - y": (lambda x, y: torch.tanh(x * y + 0.5) * x - y, (x, y)),
        "gelu(x + bias)": (lambda x, bias: F.gelu(x + bias), (x, bias)),
    }
    for name, (f, inputs) in functions.items():
        compiled = torch.compile(f)
        forward, backward = passes(lambda: [compiled(*inputs)], inputs)
        reads = sum(t.dim() == 2 for t in inputs)
        yield f"{name}, forward", "torch.compile", (reads + 1) * 2 * x.numel() / forward / 1e6
        yield f"{name}, backward", "torch.compile", (2 * reads + 1) * 2 * x.numel() / backward / 1e6
    cos, sin = (t.cuda()[:, None] for t in peer.rotary_table(1024, 64))
    xs = [random(32, 1024, 12, 64) for _ in range(10)]
    compiled = torch.compile(peer.turn)
    forward, backward = passes(lambda: [compiled(x, cos, sin) for x in xs], xs)
    byte_count = sum(2 * 2 * x.numel() for x in xs)
    yield "RoPE, forward", "torch.compile", byte_count / forward / 1e6
    yield "RoPE, backward", "torch.compile", byte_count / backward / 1e6


def optimizer():
    parameters = list(peer.Model(50_304, 1024, 768, 12, 12, 3072, False).cuda().parameters())
    count = sum(p.numel() for p in parameters)
    for p in parameters:
        p.grad = 1e-3 * torch.randn_like(p)
    gradients = [p.grad for p in parameters]
    adamw = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def clip_and_step():
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adamw.step()

    norm = milliseconds(lambda: torch.nn.utils.get_total_norm(gradients))
    yield "norm", "get_total_norm", 4 * count / norm / 1e6
    yield "AdamW", "AdamW(fused=True)", 28 * count / milliseconds(adamw.step) / 1e6
    yield "clipping and AdamW", "clip_grad_norm_, AdamW(fused=True)", 32 * count / milliseconds(clip_and_step) / 1e6
    matrices = [p for p in parameters if p.dim() == 2 and p.shape[0] not in (50_304, 1024)]
    rest = [p for p in parameters if all(p is not m for m in matrices)]
    both = torch.optim.Muon(matrices, lr=1e-4), torch.optim.AdamW(rest, lr=1e-4, fused=True)
    time = milliseconds(lambda: [each.step() for each in both])
    for products in ("f32", "TF32"):
        yield f"Muon, products in {products}", "torch.optim.Muon (bf16) and AdamW(fused=True)", time


def head():
    tokens, vocabulary = 16_384, 50_304
    targets = torch.randint(0, vocabulary, (tokens,), device="cuda")
    for width in (768, 2048):
        for name, dtype in (("torch.compile, bf16", torch.bfloat16), ("torch.compile, autocast", torch.float32)):
            torch.cuda.empty_cache()
            hidden, weight = random(tokens, width, dtype=dtype), random(vocabulary, width, dtype=dtype, scale=0.02)
            loss = torch.compile(lambda hidden, weight: F.cross_entropy(F.linear(hidden, weight).float(), targets))

            def step():
                hidden.grad = weight.grad = None
                with torch.autocast("cuda", torch.bfloat16, enabled=dtype == torch.float32):
                    result = loss(hidden, weight)
                result.backward()

            step()
            torch.cuda.reset_peak_memory_stats()
            yield f"width {width}", name, 6 * tokens * vocabulary * width / milliseconds(step) / 1e9
            yield f"width {width}, memory", name, torch.cuda.max_memory_allocated() / 2**30


def grouped():
    groups, rows, width = 64, 131_072, 2048
    flops = 2 * rows * width * width
    x, upstream = (random(rows, width).detach() for _ in range(2))
    weight = random(groups, width, width).detach()
    equal = torch.arange(1, groups + 1, device="cuda", dtype=torch.int32) * (rows // groups)
    sizes = [2048 + (-64 if i % 2 else 64) * (i * 7 // 2 % 17) for i in range(groups)]
    uneven = torch.tensor(sizes, device="cuda").cumsum(0).to(torch.int32)
    uneven[-1] = rows
    for name, ends in (("", equal), ("uneven groups, ", uneven)):
        for what, f in (
            ("product", lambda: torch._grouped_mm(x, weight.transpose(-2, -1), offs=ends)),
            ("gradient of rows", lambda: torch._grouped_mm(upstream, weight, offs=ends)),
            ("gradient of weights", lambda: torch._grouped_mm(upstream.t(), x, offs=ends)),
        ):
            yield name + what, "torch._grouped_mm", flops / milliseconds(f) / 1e9


def main():
    folder, *chosen = sys.argv[1:]
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}", flush=True)
    for figure in chosen or ("attention", "elementwise", "optimizer", "head", "grouped"):
        torch.cuda.empty_cache()
        output = subprocess.run([os.path.join(folder, f"gpu_{figure}")], capture_output=True, text=True)
        print(f"\n{figure}\n{output.stdout}{output.stderr}", end="", flush=True)
        rows = re.findall(r"^(.+): ([\d.]+) ([^\s,]+)", output.stdout, re.M)
        own = {name: (float(value), unit) for name, value, unit in rows}
        for name, other, value in globals()[figure]():
            mine, unit = own.get(name, (float("nan"), ""))
            ratio = value / mine if unit in ("ms", "GiB") else mine / value
            print(f"{name}: tenon {mine:g} {unit}, {other} {value:.5g}, ratio {ratio:.3f}", flush=True)


if __name__ == "__main__":
    main()
