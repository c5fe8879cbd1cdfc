"""Compares training steps with PyTorch's, eager and compiled, on the same cores in the same run.

usage: training_step.py PROGRAM [MODEL...]   (PROGRAM: the compiled training_step.cpp; needs PyTorch)
MODEL: tinystories and gpt2 (both). Each program runs in a process of its own, which also tells the most memory that it
had. Prints medians of five steps, the ratio of PyTorch's better median to tenon's (above 1: tenon is faster), and the
memory beyond 16 bytes a parameter with its ratio to that of PyTorch's leaner one (below 1: tenon takes less).
"""
import re, resource, statistics, subprocess, sys, time

models = {  # vocabulary, context, width, depth, heads, hidden, is Llama-like, batch, time
    "tinystories": (10_000, 256, 512, 4, 16, 1344, True, 8, 256),
    "gpt2": (50_257, 1024, 768, 12, 12, 3072, False, 4, 64),
}


def torch_step(name, threads, compiled):
    """Runs in a process of its own: milliseconds a step, and megabytes beyond 16 bytes a parameter."""
    import torch
    from peer import Model

    *configuration, batch, length = models[name]
    torch.set_num_threads(threads)
    empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # PyTorch itself
    model = Model(*configuration)
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=True)
    ids = torch.randint(0, configuration[0], (batch, length))
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        run(ids, ids).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        times.append(1e3 * (time.perf_counter() - begin))
    count = sum(p.numel() for p in model.parameters())
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{statistics.median(times[1:]):.1f} ms, {((most - empty) * 1024 - 16 * count) / 1e6:.0f} MB")


def numbers(command):
    output = subprocess.run(command, capture_output=True, text=True)
    if output.returncode:
        print(f"{' '.join(command[-3:])}: {output.stderr.strip().splitlines()[-1]}")
        return float("inf"), float("inf")
    return (float(re.search(pattern, output.stdout).group(1)) for pattern in (r"([\d.]+) ms", r"(-?[\d.]+) MB"))


def main():
    program, *chosen = sys.argv[1:]
    for name in chosen or models:
        for threads in (1, 2):
            own, own_memory = numbers([program, name, str(threads)])
            python = [sys.executable, __file__, "--torch", name, str(threads)]
            eager, eager_memory = numbers([*python, "eager"])
            compiled, compiled_memory = numbers([*python, "compiled"])
            leaner = min(eager_memory, compiled_memory)
            print(
                f"{name}, {threads} threads: tenon {own:.0f} ms, eager {eager:.0f} ms, compiled {compiled:.0f} ms;"
                f" ratio {min(eager, compiled) / own:.2f}; memory {own_memory:.0f} MB, eager {eager_memory:.0f} MB,"
                f" compiled {compiled_memory:.0f} MB; ratio {own_memory / leaner:.2f}",
                flush=True,
            )


if sys.argv[1] == "--torch":
    torch_step(sys.argv[2], int(sys.argv[3]), sys.argv[4] == "compiled")
else:
    main()
