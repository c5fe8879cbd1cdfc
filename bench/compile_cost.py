#!/usr/bin/env python3
"""Measures what tenon costs the compiler, and prints each figure beside its bar.

    bench/compile_cost.py [--compiler g++] [--repeat 5] [--eigen /usr/include/eigen3]

Times are processor seconds of the compiler and its children, medians of interleaved runs: other work on the machine
disturbs both sides of a ratio alike.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

PROGRAM = """
#include <cstdint>
#include <tenon/tenon.hpp>

template <class Model>
float train(const tenon::TransformerSizes& sizes) {
    tenon::Trainable<Model> model{tenon::seed(42), sizes};
    tenon::AdamW optimizer{model, {}};
    const auto tokens = tenon::Tensor<std::uint16_t, TOKENS_SHAPE>::zeros(TOKENS_LENGTHS);
    float value = 0;
    for (int step = 0; step < 2; ++step) {
        const auto loss = cross_entropy(model(tokens), tokens);
        value = loss.item();
        backward(loss);
        optimizer.step();
    }
    return value;
}
"""

CONFIGURATION = """
struct Model{index} : tenon::TransformerDefaults {{
    static constexpr int vocabulary = {vocabulary}, context = 64, width = {width}, depth = {depth}, heads = {heads}, hidden = {hidden};
}};
"""


def static_program(widths, depth=2):
    """A program that trains one model of each width."""
    text = PROGRAM.replace("TOKENS_SHAPE", "tenon::Shape<4, 64>").replace("TOKENS_LENGTHS", "")
    calls = []
    for index, width in enumerate(widths):
        text += CONFIGURATION.format(index=index, vocabulary=512 + 16 * index, width=width, depth=depth,
                                     heads=width // 32, hidden=3 * width)
        model = f"tenon::Transformer<Model{index}>"
        calls.append(f"train<{model}>(tenon::sizes_of<Model{index}>())")
    return text + f"int main() {{ return {' + '.join(calls)} > 1e6f; }}\n"


def dynamic_program():
    """The program of one model, with every extent dyn."""
    text = PROGRAM.replace("TOKENS_SHAPE", "tenon::Shape<tenon::dyn, tenon::dyn>").replace("TOKENS_LENGTHS", "4, 64")
    return text + """
int main() {
    const tenon::TransformerSizes sizes{.vocabulary = 512, .context = 64, .width = 128, .depth = 2, .heads = 4, .hidden = 384};
    return train<tenon::Transformer<tenon::DynamicTransformer<>>>(sizes) > 1e6f;
}
"""


class Compiler:
    def __init__(self, command, eigen, folder):
        self.command = [command, "-std=c++20", f"-I{ROOT / 'include'}", "-isystem", eigen]
        self.definitions = [f'-DTENON_HEADERS="{ROOT / "include/tenon"}"', f'-DEIGEN_HEADERS="{eigen}/Eigen"']
        self.folder = folder

    def run(self, arguments):
        """Processor seconds and peak memory in MB of one call."""
        process = subprocess.Popen(self.command + self.definitions + arguments, cwd=self.folder)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit(f"failed: {' '.join(self.command + arguments)}")
        # The compiler proper is a child of the driver, which has waited for it.
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

    def source(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)


OPTIMIZED = ["-O3", "-march=native", "-mtune=generic", "-DNDEBUG"]


def medians(compiler, calls, repeat):
    """The median seconds and the greatest memory of each call, run in turn."""
    seconds = [[] for _ in calls]
    memory = [0.0 for _ in calls]
    for _ in range(repeat):
        for index, call in enumerate(calls):
            time, peak = compiler.run(call)
            seconds[index].append(time)
            memory[index] = max(memory[index], peak)
    return [statistics.median(times) for times in seconds], memory


def report(what, value, bar, unit, detail=""):
    verdict = "ok" if value <= bar else "MISSED"
    print(f"{what:<58} {value:8.2f} {unit:<2} bar {bar:g} {unit:<2} {verdict:<6} {detail}", flush=True)
    return value <= bar


def measure(compiler, repeat):
    results = []

    def ratio(what, bar, numerator, denominator):
        (above, below), _ = medians(compiler, [numerator, denominator], repeat)
        results.append(report(what, above / below, bar, "x", f"({above:.2f} s : {below:.2f} s)"))

    def object_of(name, text):
        return OPTIMIZED + ["-c", compiler.source(name + ".cpp", text), "-o", name + ".o"]

    def parse(header):
        return ["-fsyntax-only", compiler.source(header.replace("/", "_") + ".cpp", f"#include <{header}>\n")]

    ratio("parsing tenon/tenon.hpp : parsing Eigen/Core", 2.0, parse("tenon/tenon.hpp"), parse("Eigen/Core"))

    train_lm = OPTIMIZED + ["-c", str(ROOT / "examples/train_lm.cpp"), "-o", "train_lm.o"]
    (seconds,), (memory,) = medians(compiler, [train_lm], repeat)
    results.append(report("train_lm at -O3", seconds, 30, "s"))
    results.append(report("train_lm at -O3, peak memory", memory / 1024, 1, "GB"))

    one = object_of("one", static_program([128]))
    ratio("48 layers : 2 layers", 1.1, object_of("deep", static_program([128], depth=48)), one)
    ratio("ten models : one", 3.0, object_of("ten", static_program(range(64, 384, 32))), one)
    ratio("every extent dyn : static", 1.3, object_of("dynamic", dynamic_program()), one)

    compiler.run(OPTIMIZED + ["-s", str(ROOT / "examples/generate.cpp"), "-o", "generate", "-pthread"])
    size = (compiler.folder / "generate").stat().st_size
    results.append(report("generate, stripped", size / 2**20, 2, "MB"))

    flags = ";".join(compiler.command[1:])
    symbols = subprocess.run(["cmake", f"-DCOMPILER={shutil.which(compiler.command[0])}", f"-DFLAGS={flags}", "-DNM=nm",
                              f"-DBINARY_DIR={compiler.folder}", "-P", ROOT / "tests/compile_cost/kernel_symbols.cmake"],
                             capture_output=True, text=True)
    print(symbols.stderr.strip())
    results.append(symbols.returncode == 0)
    return all(results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--eigen", default="/usr/include/eigen3")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each, of which the median counts")
    arguments = parser.parse_args()
    version = subprocess.run([arguments.compiler, "--version"], capture_output=True, text=True, check=True)
    print(f"{version.stdout.splitlines()[0]}; medians of {arguments.repeat}, processor time")
    with tempfile.TemporaryDirectory() as folder:
        compiler = Compiler(arguments.compiler, arguments.eigen, pathlib.Path(folder))
        return 0 if measure(compiler, arguments.repeat) else 1


if __name__ == "__main__":
    sys.exit(main())
