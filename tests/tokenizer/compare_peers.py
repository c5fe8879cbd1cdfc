"""Compares this library's tokenizers with tiktoken and Hugging Face tokenizers, on every text of a test.

usage: compare_peers.py --program build/tests/tokenizer/compare_peers TOKENIZER TEST... [--ordinary] [--plain] [--pair]
    (pip install tiktoken==0.14.0 tokenizers==0.23.3)

TOKENIZER is a file that both can read:
    tokenizer.json    Hugging Face's, compared with Hugging Face tokenizers
    *.tiktoken        ranks, with an encoding.json beside them, compared with tiktoken
    vocab.json        GPT-2's, with merges.txt beside it, compared with tiktoken or, with --huggingface, the other
Each TEST is
    random:COUNT[:SEED]   random strings, more of them where the classes of characters meet and of added tokens
    singles               every code point alone, and between letters, digits and spaces
    FILE                  the documents of a text file, of some kB each

Compared are ids, offsets, type ids, masks, and the decoded text with and without special tokens; of tiktoken, which
has no more, ids, where tokens begin, and the decoded text. Ends with the number of texts that differ.
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


def single_texts():
    for code_point in range(0x110000):
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
        self.adds_special = not arguments.plain
        self.added = sorted(token.content for token in tokenizer.get_added_tokens_decoder().values())

    def encode(self, text, pair=None):
        e = self.tokenizer.encode(text, pair, add_special_tokens=self.adds_special)
        offsets = array("I", chain.from_iterable(e.offsets))
        numbers = array("I", e.ids) + offsets[::2] + offsets[1::2] + array("I", e.type_ids)
        return numbers + array("I", e.special_tokens_mask) + array("I", e.attention_mask)

    def decode(self, ids):
        return (self.tokenizer.decode(ids, skip_special_tokens=False), self.tokenizer.decode(ids))


class Tiktoken:
    """What tiktoken makes of texts."""

    fields = ("ids", "begins")

    def __init__(self, encoding, arguments):
        self.encoding = encoding
        self.allowed = set() if arguments.ordinary else encoding.special_tokens_set
        self.added = sorted(encoding.special_tokens_set)

    def encode(self, text, pair=None):
        ids = self.encoding.encode(text, allowed_special=self.allowed, disallowed_special=())
        begins, end = array("I"), 0
        for token in self.encoding.decode_tokens_bytes(ids):
            is_within = 0x80 <= token[0] < 0xC0
            begins.append(max(end - is_within, 0))
            end += sum(not 0x80 <= byte < 0xC0 for byte in token)
        return array("I", ids) + begins

    def decode(self, ids):
        return (self.encoding.decode(ids),)


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
        options = [f"--{o}" for o in ("ordinary", "plain", "pair") if getattr(arguments, o)]
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

    def read_number(self):
        return struct.unpack("<I", self.read(4))[0]

    def read_text(self):
        return self.read(self.read_number())

    def answer(self):
        """The numbers of a text, and two decoded texts; or an error."""
        count = self.read_number()
        if count == 0xFFFFFFFF:
            return self.read_text().decode(errors="replace"), None
        return array("I", self.read(24 * count)), (self.read_text(), self.read_text())


class Comparison:
    def __init__(self, arguments):
        self.step = 2 if arguments.pair else 1
        self.shown = arguments.shown
        self.peer, self.library = load_peer(arguments), Library(arguments)
        self.differences = {}

    def report(self, kind, texts, ours, theirs):
        self.differences[kind] = self.differences.get(kind, 0) + 1
        if self.differences[kind] <= self.shown:
            print(f"{kind}: {texts!r:.400}\n    ours   {ours!s:.400}\n    theirs {theirs!s:.400}", flush=True)

    def encode(self, texts):
        try:
            return self.peer.encode(*texts), None
        except BaseException as error:  # panics, too
            if isinstance(error, KeyboardInterrupt):
                raise
            return None, error

    def compare(self, texts):
        """Returns whether anything differs between what both make of a text, or of a pair."""
        ours, ours_decoded = self.library.answer()
        theirs, error = self.encode(texts)
        if error is not None or ours_decoded is None:
            # Both may refuse a text, each in its own words.
            if (error is None) != (ours_decoded is not None):
                return False
            self.report("error", texts, ours, error if theirs is None else theirs)
            return True
        count = len(theirs) // len(self.peer.fields)
        if ours[: len(theirs)] != theirs or len(ours) != 6 * count:
            ours_count = len(ours) // 6
            for i, field in enumerate(self.peer.fields):
                a, b = ours[i * ours_count:(i + 1) * ours_count], theirs[i * count:(i + 1) * count]
                if a != b:
                    self.report(field, texts, a.tolist(), b.tolist())
                    return True
        for a, b in zip(ours_decoded, self.peer.decode(theirs[:count].tolist())):
            if a != b.encode():
                self.report("decoded", texts, a, b)
                return True
        return False

    def run(self, texts):
        """Compares all texts; the numbers of them, of their bytes, and of those that differ."""
        total = total_bytes = differing = 0
        batch, characters = [], 0

        def flush():
            nonlocal total, total_bytes, differing, batch, characters
            batch = batch[: len(batch) - len(batch) % self.step]
            self.library.start(batch)
            for i in range(0, len(batch), self.step):
                differing += self.compare(batch[i:i + self.step])
            total += len(batch) // self.step
            total_bytes += sum(len(text.encode()) for text in batch)
            batch, characters = [], 0

        for text in texts:
            batch.append(text)
            characters += len(text) + 20
            if characters >= BATCH_CHARACTERS:
                flush()
        flush()
        return total, total_bytes, differing


def texts_of(test, peer):
    if test == "singles":
        return single_texts()
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
    arguments = parser.parse_args()
    comparison = Comparison(arguments)
    total_differing = 0
    for test in arguments.tests:
        start = time.time()
        count, size, differing = comparison.run(texts_of(test, comparison.peer))
        total_differing += differing
        print(f"{arguments.tokenizer} {type(comparison.peer).__name__} {test}: {count} texts of {size} bytes, "
              f"{differing} differ {comparison.differences or ''} ({time.time() - start:.0f} s)", flush=True)
    sys.exit(total_differing > 0)


if __name__ == "__main__":
    main()
