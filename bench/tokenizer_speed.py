"""Compares encoding, loading and the worst case with tiktoken and Hugging Face tokenizers, in the same run.

usage: tokenizer_speed.py PROGRAM TEXT GPT2_FOLDER CL100K_FOLDER [TOKENIZER_JSON...]
PROGRAM: the compiled tokenizer_speed.cpp; GPT2_FOLDER holds vocab.json and merges.txt, CL100K_FOLDER
cl100k_base.tiktoken and encoding.json; each TOKENIZER_JSON is loaded. Needs tiktoken and tokenizers. They take turns in
each of five rounds, so that all of them have the machine's fast and slow minutes; on one thread unless it says
otherwise. Medians of all runs, after checking that the counts of ids agree. Ratios above 1: tenon is faster.
"""
import base64, json, os, statistics, subprocess, sys, time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tiktoken
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

ROUNDS = 5
RUNS = 3  # of tenon, in each round
GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def seconds_of(run):
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def tenon(program, *arguments):
    """What the program printed: numbers of seconds, or others, by their names."""
    output = subprocess.run([program, *arguments, str(RUNS)], capture_output=True, text=True, check=True).stdout
    lines = (line.split(": ") for line in output.splitlines())
    return {name: [float(value) for value in values.split()] for name, values in lines}


def medians_of(own, **others):
    """Rounds in which tenon and the others take turns: the medians of what each of them took."""
    runs = {}
    for _ in range(ROUNDS):
        for name, values in own().items():
            runs.setdefault(name, []).extend(values)
        for name, run in others.items():
            runs.setdefault(name, []).append(seconds_of(run))
    return {name: statistics.median(values) for name, values in runs.items()}


def byte_alphabet():
    """GPT-2's characters for bytes, as its files write them."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {**{byte: chr(byte) for byte in shown}, **{byte: chr(256 + i) for i, byte in enumerate(hidden)}}


def gpt2_peers(folder):
    vocabulary = json.load(open(f"{folder}/vocab.json", encoding="utf-8"))
    lines = open(f"{folder}/merges.txt", encoding="utf-8").read().split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    byte_of = {character: byte for byte, character in byte_alphabet().items()}
    special = {"<|endoftext|>": vocabulary["<|endoftext|>"]}
    ranks = {bytes(byte_of[c] for c in token): id for token, id in vocabulary.items() if token not in special}
    fast = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=special), fast


def cl100k_peers(folder):
    encoding = json.load(open(f"{folder}/encoding.json", encoding="utf-8"))
    lines = (line.split() for line in open(f"{folder}/cl100k_base.tiktoken", "rb") if line.strip())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    reference = tiktoken.Encoding("cl100k", pat_str=encoding["pattern"], mergeable_ranks=ranks,
                                  special_tokens=encoding["special_tokens"])
    alphabet = byte_alphabet()
    write = lambda token: "".join(alphabet[byte] for byte in token)
    merges = []
    for token, rank in ranks.items():  # the two tokens that a token's merge joins
        parts = [token[i : i + 1] for i in range(len(token))]
        while len(parts) > 2:
            pairs = [ranks.get(parts[i] + parts[i + 1], rank) for i in range(len(parts) - 1)]
            best = min(pairs)
            if best >= rank:
                break
            at = pairs.index(best)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            merges.append((rank, (write(parts[0]), write(parts[1]))))
    fast = Tokenizer(models.BPE(vocab={write(token): rank for token, rank in ranks.items()},
                                merges=[pair for _, pair in sorted(merges)]))
    fast.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(encoding["pattern"]), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    return reference, fast


def compare_encoding(program, name, path, text_path, peers):
    text = open(text_path, encoding="utf-8", newline="").read()
    megabytes = os.path.getsize(text_path) / 1e6
    reference, fast = peers
    # Hugging Face's takes longer for one long text than for its documents.
    documents = [text[at : at + 4000] for at in range(0, len(text), 4000)]
    own = medians_of(lambda: tenon(program, "encode", path, text_path),
                     tiktoken=lambda: reference.encode_ordinary(text),
                     tokenizers=lambda: fast.encode_batch_fast(documents, add_special_tokens=False))
    count = len(reference.encode_ordinary(text))
    if own["tokens"] != count:
        sys.exit(f"{name}: expected {count} tokens, got {own['tokens']:.0f}")
    seconds, reference_seconds, fast_seconds = own["one text, 1 thread"], own["tiktoken"], own["tokenizers"]
    print(f"{name}: tenon {megabytes / seconds:.1f} MB/s (again {megabytes / own['again, 1 thread']:.1f}), tiktoken {megabytes / reference_seconds:.2f} MB/s, tokenizers"
          f" {megabytes / fast_seconds:.2f} MB/s; ratios {reference_seconds / seconds:.1f} and {fast_seconds / seconds:.1f};"
          f" 2 threads {own['documents, 1 thread'] / own['documents, 2 threads']:.2f} x one on documents,"
          f" {seconds / own['one text, 2 threads']:.2f} x on one text", flush=True)
    letter = statistics.median(tenon(program, "letter", path)["letter"])
    print(f"{name}: a megabyte of one letter {1 / letter:.1f} MB/s, per byte {letter * megabytes / seconds:.2f} x the text's",
          flush=True)


def main():
    program, text, gpt2, cl100k, *files = sys.argv[1:]
    compare_encoding(program, "GPT-2", gpt2, text, gpt2_peers(gpt2))
    compare_encoding(program, "cl100k", f"{cl100k}/cl100k_base.tiktoken", text, cl100k_peers(cl100k))
    for path in files:
        own = medians_of(lambda: tenon(program, "load", path), tokenizers=lambda: Tokenizer.from_file(path))
        print(f"{path}: loaded in {own['load']:.3f} s, by tokenizers in {own['tokenizers']:.3f} s;"
              f" {own['load'] / own['tokenizers']:.2f} x", flush=True)


if __name__ == "__main__":
    main()
