"""The share of training steps in which the GPU works on no kernel, copy or fill of them.

usage: launch_gaps.py LIBRARY MODEL [STEPS]   (LIBRARY: training_step.cu as a shared library; needs PyTorch)

    nvcc -std=c++20 -O3 -arch native -shared -Xcompiler -fPIC -I include bench/gpu/training_step.cu -lcublasLt

Its main runs here, within PyTorch's profiler, which has from CUPTI when the GPU began and ended each piece of work,
those of a replayed graph, too. Judged is the later half of them, of 24 steps if not told otherwise; what they have
cost together is printed, beginning with the dearest.
"""
import collections, ctypes, sys

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile


def main():
    library, model, *steps = sys.argv[1:]
    arguments = [b"training_step", model.encode(), (steps or ["24"])[0].encode()]
    run = ctypes.CDLL(library).main
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as recorded:
        if run(len(arguments), (ctypes.c_char_p * (len(arguments) + 1))(*arguments)):
            sys.exit("the program failed")
    on_gpu = [e for e in recorded.events() if e.device_type == DeviceType.CUDA]
    work = sorted((e.time_range.start, e.time_range.end, e.name) for e in on_gpu)
    work = work[len(work) // 2 :]
    begin = reached = work[0][0]
    idle, gaps, cost = 0.0, 0, collections.Counter()
    for start, end, name in work:
        idle += max(0, start - reached)
        gaps += start > reached
        reached = max(reached, end)
        cost[name] += end - start
    span = reached - begin
    print(f"{len(work)} pieces of work in {span / 1e3:.1f} ms; idle {100 * idle / span:.2f} %, in {gaps} gaps")
    for name, time in cost.most_common(25):
        print(f"{100 * time / span:6.2f} %  {name[:150]}")


if __name__ == "__main__":
    main()
