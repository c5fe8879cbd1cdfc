"""Compares sentence embeddings, and their speed, with sentence-transformers, in the same run.

usage: embedding.py EMBED FOLDER SENTENCES [THREADS]
EMBED: the compiled examples/embed; FOLDER: of a model, such as all-MiniLM-L6-v2; SENTENCES: a file, one a line. Needs
sentence-transformers. The two take turns, five times each, sentence-transformers after a first run that does not
count; medians of the seconds that embedding takes, tokenizer included, loading not. Ratios above 1: tenon is faster.
"""
import os, re, statistics, subprocess, sys, tempfile, time

import numpy as np

program, folder, path = sys.argv[1:4]
threads = int(sys.argv[4]) if len(sys.argv) > 4 else os.cpu_count()
os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(threads)

import torch
from sentence_transformers import SentenceTransformer

RUNS = 5
torch.set_num_threads(threads)
sentences = open(path, encoding="utf-8").read().removesuffix("\n").split("\n")
model = SentenceTransformer(folder, device="cpu")
model.encode(sentences)
seconds = {"tenon": [], "sentence-transformers": []}
with tempfile.NamedTemporaryFile() as file:
    for _ in range(RUNS):
        output = subprocess.run([program, "--model", folder, "--file", path, "--format", "binary", "--out", file.name,
                                 "--threads", str(threads)], capture_output=True, text=True, check=True).stderr
        tokens, own = re.search(r"(\d+) tokens in ([\d.]+) s", output).groups()
        seconds["tenon"].append(float(own))
        begin = time.perf_counter()
        theirs = model.encode(sentences, batch_size=32).astype(np.float64)
        seconds["sentence-transformers"].append(time.perf_counter() - begin)
    ours = np.fromfile(file.name, dtype=np.float32).reshape(theirs.shape).astype(np.float64)

cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
medians = {name: statistics.median(values) for name, values in seconds.items()}
print(f"{len(sentences)} sentences, {tokens} tokens, {threads} threads")
print(f"least cosine {cosine.min():.9f}, greatest difference {np.abs(ours - theirs).max():.2g}")
for name, median in medians.items():
    print(f"{name}: {len(sentences) / median:.1f} sentences/s")
print(f"ratio {medians['sentence-transformers'] / medians['tenon']:.2f}")
