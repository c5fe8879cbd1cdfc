"""Compares this library's tokenizers with tiktoken and Hugging Face tokenizers, on every text of a test.

usage: compare_peers.py --program build/tests/compare_peers TOKENIZER TEST...
                        [--ordinary] [--plain] [--pair] [--unpadded]
    (pip install tiktoken==0.14.0 tokenizers==0.23.3)

TOKENIZER is a file that both can read:
    tokenizer.json    Hugging Face's, compared with Hugging Face tokenizers
    *.tiktoken        ranks, with an encoding.json beside them, compared with tiktoken
    vocab.json        GPT-2's, with merges.txt beside it, compared with tiktoken or, with --huggingface, the other
Each TEST is
    random:COUNT[:SEED]   random strings, more of them where the classes of characters meet and of added tokens
    singles[:FIRST:END]   every code point, or those from FIRST to before END (hexadecimal), alone and between
                          letters, digits and spaces
    FILE                  the documents of a text file, of some kB each

Compared are ids, offsets, type ids, masks, and the decoded text with and without special tokens; of tiktoken, which
has no more, ids, where tokens begin, and the decoded text. Says from time to time how far it is, and ends with the
number of texts that differ.
"""
import argparse
import json
import os
import random
import struct
import subprocess
import sys
import time
from array import array
from itertools import chain

BATCH_CHARACTERS = 1 << 20
SECONDS_BETWEEN_REPORTS = 60

WORDS = """the The hello WORLD don can I we naïve café Ångström привет МИР 中文 世界 こんにちは カタカナ 한국어 안녕
مرحبا العربية हिन्दी नमस्ते ไทย 👩‍👩‍👧 😀 🇩🇪 ﬁ ① ½ Ⅷ ٣ 3 12 2024 3.14 1234567 __init__ foo_bar camelCase HTMLParser x = ==
{ } () -> // # < > </s> <s> <unk> ſ İ ß ΑΣ ΟΔΟΣ ▁ ▁▁ Ġ ##a ` ^ ~ $ + | « » “ ” … — ! ? ' " , . ; : - 's 'S 'll 'LL n't 'ſ
'm K 𐐷 𝒜 𠀀 ㌔ ﷺ <0x0A> \\n""".split() + [
    "\u0301", "\u0300\u0323", "e\u0301", "\u200b", "\u200d", "\ufeff", "\xa0", "\u3000", "\u2028", "\x85", "\0",
    "\x01", "\x7f", "\xad", "\ufffd", "\u1100\u1161", "\u1100\u1161\u11a8", "\u0344", "\u0958", "\u2126", "\u212b",
    "a\u0315\u0300"]
SPACES = [" ", " ", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t", "\n ", "  \n", "\xa0", "\u3000",
          "\v", "\f", "\u2003", "\u2029"]
# Where classes, blocks and scripts begin or end.
BOUNDARIES = [
    0x27, 0x2f, 0x30, 0x39, 0x3a, 0x40, 0x41, 0x5a, 0x5b, 0x61, 0x7a, 0x7b, 0x7f, 0x80, 0xa0, 0xaa, 0xb2, 0xb5, 0xb9,
    0xba, 0xbc, 0xc0, 0xd6, 0xd7, 0xd8, 0xf7, 0x130, 0x1c4, 0x2c1, 0x2c6, 0x300, 0x345, 0x36f, 0x370, 0x483, 0x5b0,
    0x660, 0x6f0, 0x966, 0x9f4, 0xe31, 0xe33, 0x1680, 0x180e, 0x1c89, 0x1e9e, 0x2000, 0x200b, 0x2028, 0x202f, 0x205f,
    0x2070, 0x2160, 0x2183, 0x2460, 0x24b6, 0x2c00, 0x3000, 0x3007, 0x3021, 0x3040, 0x309f, 0x30a0, 0x30ff, 0x3400,
    0x4dbf, 0x4dc0, 0x4e00, 0x9fa5, 0x9fff, 0xa000, 0xa66f, 0xa7c7, 0xac00, 0xd7a3, 0xe000, 0xf8ff, 0xf900, 0xfb00,
    0xfe00, 0xff10, 0xff21, 0xfffd, 0x10000, 0x10400, 0x1d400, 0x1d7ce, 0x1f130, 0x1f1e6, 0x1f600, 0x20000, 0x2a6df,
    0x2b920, 0x2f800, 0xe0001, 0xe0100, 0xf0000, 0x10ffff]


def random_character(r):
    kind = r.random()
    if kind < 0.35:
        return chr(r.randrange(32, 127))
    if kind < 0.6:
        code_point = min(max(r.choice(BOUNDARIES) + r.randrange(-3, 4), 0), 0x10FFFF)
    elif kind < 0.8:
        code_point = r.randrange(0x80, 0x3100)
    else:
        code_point = r.randrange(0x110000)
    return "x" if 0xD800 <= code_point <= 0xDFFF else chr(code_point)


def random_added_token(r, added):
    token = r.choice(added)
    kind = r.random()
    if kind < 0.1:
        return token[:-1]
    if kind < 0.15:
        return token.upper()
    return token


def random_text(r, added):
    """Most texts mix everything; some are of random characters alone."""
    is_of_characters = r.random() < 0.3
    parts = []
    for _ in range(r.choice((1, 2, 3, 5, 8, 13, 21, 40))):
        kind = r.random()
        if is_of_characters or 0.6 <= kind < 0.8:
            parts.append(random_character(r))
        elif kind < 0.3:
            parts.append(r.choice(SPACES))
        elif kind < 0.6:
            parts.append(r.choice(WORDS))
        elif kind < 0.83 and added:
            parts.append(random_added_token(r, added))
        else:
            parts.append(r.choice(SPACES) + r.choice(WORDS))
    return "".join(parts)


def random_texts(count, seed, added):
    r = random.Random(seed)
    yield from ("", " ", "  ", "\n", "a", " a", "a ")[:count]
    for _ in range(count - 7):
        yield random_text(r, added)


def single_texts(first="0", end="110000"):
    for code_point in range(int(first, 16), int(end, 16)):
        if not 0xD800 <= code_point <= 0xDFFF:
            c = chr(code_point)
            yield from (c, f"a{c}b", f"1{c}2", f" {c} ")


def document_texts(path):
    """Documents of 1 to 8 kB that end with lines; with the line endings of the file."""
    r = random.Random(1)
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        document, size, wanted = [], 0, 0
        for line in file:
            document.append(line)
            size += len(line)
            if size >= wanted:
                if wanted:
                    yield "".join(document)
                document, size, wanted = [], 0, r.randrange(1000, 8000)
        yield "".join(document)


class HuggingFace:
    """What Hugging Face tokenizers make of texts."""

    fields = ("ids", "begins", "ends", "type ids", "special mask", "attention mask")

    def __init__(self, tokenizer, arguments):
        self.tokenizer = tokenizer
        self.tokenizer.encode_special_tokens = arguments.ordinary
        if arguments.unpadded:
            self.tokenizer.no_padding()
            self.tokenizer.no_truncation()
        self.adds_special = not arguments.plain
        self.added = sorted(token.content for token in tokenizer.get_added_tokens_decoder().values())

    def encode(self, texts):
        """Of each text, or pair, its numbers, or an error."""
        if self.tokenizer.padding is None:  # which would depend on the other texts
            try:
                encodings = self.tokenizer.encode_batch(texts, add_special_tokens=self.adds_special)
                return [self.numbers(e) for e in encodings]
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
        return [caught(self.encode_one, text) for text in texts]

    def encode_one(self, text):
        text, pair = text if isinstance(text, tuple) else (text, None)
        return self.numbers(self.tokenizer.encode(text, pair, add_special_tokens=self.adds_special))

    def numbers(self, e):
        offsets = list(chain.from_iterable(e.offsets))
        return array("I", chain(e.ids, offsets[::2], offsets[1::2], e.type_ids, e.special_tokens_mask,
                                e.attention_mask))

    def decode(self, ids):
        """Of the ids of each text what they are decoded to, with special tokens and without."""
        return zip(self.tokenizer.decode_batch(ids, skip_special_tokens=False), self.tokenizer.decode_batch(ids))


class Tiktoken:
    """What tiktoken makes of texts."""

    fields = ("ids", "begins")

    def __init__(self, encoding, arguments):
        self.encoding = encoding
        self.allowed = set() if arguments.ordinary else encoding.special_tokens_set
        self.added = sorted(encoding.special_tokens_set)

    def encode(self, texts):
        return [caught(self.encode_one, text) for text in texts]

    def encode_one(self, text):
        ids = self.encoding.encode(text, allowed_special=self.allowed, disallowed_special=())
        begins, end = array("I"), 0
        for token in self.encoding.decode_tokens_bytes(ids):
            is_within = 0x80 <= token[0] < 0xC0
            begins.append(max(end - is_within, 0))
            end += sum(not 0x80 <= byte < 0xC0 for byte in token)
        return array("I", ids) + begins

    def decode(self, ids):
        return ((self.encoding.decode(some),) for some in ids)


def caught(function, *arguments):
    """What the function returns, or the error that it raises."""
    try:
        return function(*arguments)
    except BaseException as error:  # panics, too
        if isinstance(error, KeyboardInterrupt):
            raise
        return error


def load_peer(arguments):
    path, folder = arguments.tokenizer, os.path.dirname(arguments.tokenizer)
    name = os.path.basename(path)
    if name == "vocab.json" and arguments.huggingface:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers

        tokenizer = Tokenizer(models.BPE.from_file(path, os.path.join(folder, "merges.txt")))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(["<|endoftext|>"])
        return HuggingFace(tokenizer, arguments)
    if name.endswith(".json") and name != "vocab.json":
        from tokenizers import Tokenizer

        return HuggingFace(Tokenizer.from_file(path), arguments)
    import tiktoken
    import tiktoken.load

    if name == "vocab.json":
        ranks = tiktoken.load.data_gym_to_mergeable_bpe_ranks(os.path.join(folder, "merges.txt"), path)
        pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
        special = {"<|endoftext|>": 50256}
    else:
        ranks = tiktoken.load.load_tiktoken_bpe(path)
        with open(os.path.join(folder, "encoding.json"), encoding="utf-8") as file:
            encoding = json.load(file)
        pattern, special = encoding["pattern"], encoding["special_tokens"]
    return Tiktoken(tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special), arguments)


class Library:
    """What this library makes of texts, by the program compare_peers."""

    def __init__(self, arguments):
        options = [f"--{o}" for o in ("ordinary", "plain", "pair", "unpadded") if getattr(arguments, o)]
        self.process = subprocess.Popen([arguments.program, arguments.tokenizer, *options], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def start(self, texts):
        parts = [struct.pack("<I", len(texts))]
        for text in texts:
            encoded = text.encode()
            parts.append(struct.pack("<I", len(encoded)) + encoded)
        self.process.stdin.write(b"".join(parts))
        self.process.stdin.flush()

    def read(self, size):
        data = self.process.stdout.read(size)
        if len(data) < size:
            raise SystemExit("compare_peers.py: the program ended early")
        return data

    def answers(self):
        """Of each text the bytes of its numbers, and two decoded texts; or an error."""
        data = self.read(struct.unpack("<Q", self.read(8))[0])
        at = 0

        def part(size):
            nonlocal at
            at += size
            return data[at - size:at]

        def number():
            return int.from_bytes(part(4), "little")

        while at < len(data):
            count = number()
            if count == 0xFFFFFFFF:
                yield part(number()).decode(errors="replace"), None
            else:
                yield part(24 * count), (part(number()), part(number()))


class Comparison:
    def __init__(self, arguments):
        self.step = 2 if arguments.pair else 1
        self.shown = arguments.shown
        self.peer, self.library = load_peer(arguments), Library(arguments)
        self.differences = {}

    def report(self, kind, text, ours, theirs):
        self.differences[kind] = self.differences.get(kind, 0) + 1
        if self.differences[kind] <= self.shown:
            print(f"{kind}: {text!r:.400}\n    ours   {ours!s:.400}\n    theirs {theirs!s:.400}", flush=True)

    def differ(self, text, ours, ours_decoded, theirs, theirs_decoded):
        """Whether anything differs between what both make of a text, or of a pair; reports it."""
        is_error = isinstance(theirs, BaseException)
        if is_error or ours_decoded is None:
            # Both may refuse a text, each in its own words.
            if is_error == (ours_decoded is None):
                return False
            self.report("error", text, ours, theirs)
            return True
        count = len(theirs) // len(self.peer.fields)
        theirs_bytes = theirs.tobytes()
        if len(ours) != 24 * count or not ours.startswith(theirs_bytes):
            numbers = array("I", ours)
            ours_count = len(numbers) // 6
            for i, field in enumerate(self.peer.fields):
                a, b = numbers[i * ours_count:(i + 1) * ours_count], theirs[i * count:(i + 1) * count]
                if a != b:
                    self.report(field, text, a.tolist(), b.tolist())
                    return True
        for a, b in zip(ours_decoded, theirs_decoded):
            if a != b.encode():
                self.report("decoded", text, a, b)
                return True
        return False

    def compare(self, texts):
        """The number of texts, or pairs, that differ."""
        self.library.start(texts)
        if self.step == 2:
            texts = list(zip(texts[::2], texts[1::2]))
        theirs = self.peer.encode(texts)
        ids = [[] if isinstance(t, BaseException) else t[: len(t) // len(self.peer.fields)].tolist() for t in theirs]
        differing = 0
        for text, ours, numbers, decoded in zip(texts, self.library.answers(), theirs, self.peer.decode(ids)):
            differing += self.differ(text, *ours, numbers, decoded)
        return differing

    def run(self, test):
        """Compares all texts of a test; returns how many differ."""
        total = total_bytes = differing = 0
        self.differences = {}
        start = reported = time.time()
        batch, characters = [], 0

        def report(end):
            print(f"{test}: {total} texts of {total_bytes} bytes, {differing} differ {self.differences or ''} "
                  f"({time.time() - start:.0f} s{end})", flush=True)

        def flush():
            nonlocal total, total_bytes, differing, batch, characters, reported
            batch = batch[: len(batch) - len(batch) % self.step]
            differing += self.compare(batch)
            total += len(batch) // self.step
            total_bytes += sum(len(text.encode()) for text in batch)
            if time.time() - reported > SECONDS_BETWEEN_REPORTS:
                reported = time.time()
                report(f", up to {batch[-1]!r:.40}")
            batch, characters = [], 0

        for text in texts_of(test, self.peer):
            batch.append(text)
            characters += len(text) + 20
            if characters >= BATCH_CHARACTERS:
                flush()
        flush()
        report("")
        return differing


def texts_of(test, peer):
    if test.split(":")[0] == "singles":
        return single_texts(*test.split(":")[1:])
    if test.startswith("random:"):
        count, seed = (test.split(":") + ["1"])[1:3]
        return random_texts(int(count), int(seed), peer.added)
    return document_texts(test)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--program", required=True)
    parser.add_argument("--huggingface", action="store_true", help="compares vocab.json with Hugging Face tokenizers")
    parser.add_argument("--ordinary", action="store_true", help="special tokens in text are text")
    parser.add_argument("--plain", action="store_true", help="puts no tokens around texts")
    parser.add_argument("--pair", action="store_true", help="encodes texts two by two")
    parser.add_argument("--shown", type=int, default=3, help="how many differences of a kind are printed")
    parser.add_argument("--unpadded", action="store_true", help="without the padding and truncation of tokenizer.json")
    arguments = parser.parse_args()
    comparison = Comparison(arguments)
    print(f"{arguments.tokenizer} and {type(comparison.peer).__name__}", flush=True)
    sys.exit(sum(comparison.run(test) for test in arguments.tests) > 0)


if __name__ == "__main__":
    main()
