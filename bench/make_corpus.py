"""Assembles a text of many languages and kinds from packages of Debian 12, never repeating any.

usage: make_corpus.py OUT MEGABYTES [CACHE]   (CACHE: where packages are kept; needs apt-get and dpkg)

Takes documents by turns from manuals (English, German, French, Spanish, Polish, Russian, Japanese, Chinese, ...),
message catalogues (of over a hundred languages, Arabic and Hindi among them), names of emoji in all languages, source
code, books and word lists, until the size is reached. A seventh of the documents get line ends of carriage return
and line feed, a thirteenth carriage returns alone. The same packages give the same text.
"""
import gzip, pathlib, struct, subprocess, sys

groups = {  # packages whose documents take one turn together
    "english": ["manpages", "bible-kjv-text", "fortunes", "debian-reference-en", "wamerican", "doc-debian"],
    "european": ["manpages-de", "manpages-fr", "manpages-es", "manpages-it", "manpages-pt-br", "manpages-pl"],
    "russian": ["manpages-ru", "gimp-help-ru"],
    "chinese": ["manpages-zh", "debian-reference-zh-cn", "maint-guide-zh-cn", "gimp-help-zh-cn"],
    "japanese": ["manpages-ja", "debian-reference-ja", "developers-reference-ja", "gimp-help-ja"],
    "arabic, hindi, thai": ["hunspell-ar", "hunspell-hi", "hunspell-th"],
    "catalogues": ["iso-codes", "gcc-12-locales", "po4a", "git", "binutils-common", "krita-l10n"],
    "emoji": ["unicode-cldr-core", "unicode-data"],
    "code": ["golang-1.19-src", "emacs-el", "libboost1.74-dev", "libpython3.11-stdlib", "libeigen3-dev", "nodejs-doc"],
    "guides": ["gnome-user-docs", "debian-handbook", "installation-guide-amd64", "developers-reference"],
}
binary = {".png", ".jpg", ".svg", ".pdf", ".ttf", ".otf", ".elc", ".pyc", ".syso", ".a", ".zip", ".epub", ".ogg", ".svgz"}


def messages(catalogue):
    """The translations in a compiled message catalogue."""
    if len(catalogue) < 20 or struct.unpack_from("<I", catalogue)[0] != 0x950412DE:
        return b""
    _, _, count, _, at = struct.unpack_from("<5I", catalogue)
    places = (struct.unpack_from("<2I", catalogue, at + 8 * i) for i in range(count))
    return b"\n".join(catalogue[begin : begin + size].replace(b"\0", b"\n") for size, begin in places)


def unpack(package, cache):
    folder = cache / package
    if not folder.exists():
        subprocess.run(["apt-get", "download", "-q", package], cwd=cache, check=True, stdout=subprocess.DEVNULL)
        (archive,) = cache.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", archive, folder], check=True)
    return folder


def documents(packages, cache):
    """The texts of packages, each one once."""
    seen = set()
    for package in packages:
        for path in sorted(unpack(package, cache).rglob("*")):
            if not path.is_file() or path.is_symlink() or path.suffix in binary:
                continue
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
            if path.suffix == ".mo":
                content = messages(content)
            if not content or b"\0" in content or hash(content) in seen:
                continue
            seen.add(hash(content))
            try:
                yield content.decode()
            except UnicodeDecodeError:
                pass


def main():
    out, size = sys.argv[1], int(float(sys.argv[2]) * 1e6)
    cache = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else "corpus_packages")
    cache.mkdir(parents=True, exist_ok=True)
    sources = {name: documents(packages, cache) for name, packages in groups.items()}
    taken = dict.fromkeys(sources, 0)
    number = 0
    with open(out, "w", encoding="utf-8", newline="") as file:
        while sources and sum(taken.values()) < size:
            name = min(sources, key=taken.get)
            text = next(sources[name], None)
            if text is None:
                del sources[name]
                continue
            number += 1
            text = text.replace("\r\n", "\n")[: size // 10]
            if number % 7 == 0:
                text = text.replace("\n", "\r\n")
            elif number % 13 == 0:
                text = text.replace("\n", "\r")
            taken[name] += len(text.encode())
            file.write(text)
    print(f"{number} documents, " + ", ".join(f"{name} {count / 1e6:.1f} MB" for name, count in taken.items()))


if __name__ == "__main__":
    main()
