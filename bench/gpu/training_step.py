"""Compares training steps on a GPU with PyTorch's, compiled and eager, and with llm.c's, in the same run.

usage: training_step.py PROGRAM [MODEL...] [--no-eager] [--blockwise] [--llmc TRAIN_GPT2CU]
PROGRAM: the compiled training_step.cu. Needs PyTorch. MODEL: gpt2, llama, tinystories, xl and olmoe (all). TRAIN_GPT2CU:
llm.c's program, for gpt2 (bf16, its defaults, on random tokens).
Each runs in a process of its own. Prints medians of 15 steps in tokens a second, the ratio of tenon's to each, and the
most memory that tensors took. PyTorch runs under autocast to bfloat16: its weights, their gradients and the residual
stream are float32, what matrix products read and write is bfloat16. tenon's residual stream and gradients of
activations are bfloat16, too. --blockwise has PyTorch compile one block for all, and the head with its loss, where the
model as a whole takes minutes (xl).
"""
import argparse, array, os, random, re, statistics, subprocess, sys, tempfile, time

models = {  # vocabulary, time, width, depth, heads, hidden, is Llama-like, experts and those of a token; batch
    "gpt2": ((50_304, 1024, 768, 12, 12, 3072, False), 32),
    "llama": ((32_000, 512, 768, 12, 12, 2048, True), 64),
    "tinystories": ((10_000, 256, 512, 4, 16, 1344, True), 256),
    "xl": ((32_000, 512, 1600, 48, 25, 4288, True), 8),
    "olmoe": ((50_304, 4096, 2048, 4, 16, 1024, True, 64, 8), 4),
}


def torch_step(name, how):
    """Runs in a process of its own: prints tokens a second, gibibytes, and the attention that ran."""
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import torch
    from torch.profiler import ProfilerActivity, profile
    from peer import Model, milliseconds

    configuration, batch = models[name]
    vocabulary, length, *_ = configuration
    torch.manual_seed(0)
    model = Model(*configuration).cuda()
    if how == "compiled":
        model.compile()
    elif how == "blockwise":
        model.compile_blockwise()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids, targets = (torch.randint(0, vocabulary, (batch, length), device="cuda") for _ in range(2))

    def step():
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    rate = batch * length / milliseconds(step, warm=4, ahead=False) * 1e3
    memory = torch.cuda.max_memory_allocated() / 2**30
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        step()
        torch.cuda.synchronize()
    kernels = {e.key for e in recorded.key_averages() if re.search("flash|fmha|sdpa|cudnn", e.key, re.IGNORECASE)}
    attention = "FlashAttention" if any("flash" in k.lower() for k in kernels) else ", ".join(k[:60] for k in kernels)
    print(f"{rate:.0f} tok/s, {memory:.2f} GiB, {attention}")


def output_of(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{command[0]} ended with {result.returncode}: {result.stderr.strip()[-300:]}")
    return result.stdout.strip()


def last_line(*command):
    text = output_of(command).splitlines()[-1]
    return float(re.search(r"([\d.]+) tok/s", text).group(1)), text


def llmc_step(program):
    (_, length, *_), batch = models["gpt2"]
    tokens = array.array("H", (random.randrange(50_257) for _ in range(4 * batch * length + 1)))
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(array.array("i", [20240520, 1, len(tokens)] + [0] * 253).tobytes() + tokens.tobytes())
        file.flush()
        arguments = f"-e d12 -i {file.name} -j {file.name} -b {batch} -t {length} -x 19 -m 1 -s 0 -l 1e-4".split()
        output = output_of([program, *arguments])
    times = [float(t) for t in re.findall(r"\| ([\d.]+) ms \|", output)[4:]]
    mebibytes = sum(int(n) for n in re.findall(r"allocat(?:ed|ing) (\d+) MiB", output))
    rate = batch * length / statistics.median(times) * 1e3
    return rate, f"{rate:.0f} tok/s, {mebibytes / 1024:.2f} GiB"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("models", nargs="*", default=list(models))
    parser.add_argument("--no-eager", action="store_true")
    parser.add_argument("--blockwise", action="store_true")
    parser.add_argument("--llmc")
    options = parser.parse_intermixed_args()
    for name in options.models:
        python = [sys.executable, __file__, "--torch", name]
        how = "blockwise" if options.blockwise else "compiled"
        runs = {"tenon": lambda: last_line(options.program, name), f"PyTorch, {how}": lambda: last_line(*python, how)}
        if not options.no_eager:
            runs["PyTorch, eager"] = lambda: last_line(*python, "eager")
        if options.llmc and name == "gpt2":
            runs["llm.c"] = lambda: llmc_step(options.llmc)
        own = None
        for who, run in runs.items():
            print(f"{name}, {who}: ", end="", flush=True)
            begin = time.monotonic()
            try:
                rate, text = run()
                own = own or rate
                print(f"{text}; ratio {own / rate:.3f} ({time.monotonic() - begin:.0f} s)", flush=True)
            except RuntimeError as error:
                print(error, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--torch"]:
        torch_step(*sys.argv[2:])
    else:
        main()
