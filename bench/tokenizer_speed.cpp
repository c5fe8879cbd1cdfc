// Times a tokenizer on the CPU.
//
//     tokenizer_speed encode TOKENIZER TEXT RUNS   encodes a file, on one thread and on two
//     tokenizer_speed letter TOKENIZER RUNS        encodes a megabyte of one letter, on one thread
//     tokenizer_speed load TOKENIZER RUNS          loads a tokenizer
//
// Prints the seconds of each run, the medians of which tokenizer_speed.py compares with those of others.
// Tokenizers remember pieces of text, so that every run has one that was just loaded and that sees the text
// for the first time, unless its name says "again".

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <tenon/core/parallel.hpp>
#include <tenon/io/file.hpp>
#include <tenon/tokenizer/read_tokenizer.hpp>
#include <tenon/training/progress.hpp>

using namespace tenon;

namespace {

/// Prints a name and the seconds of each run, which is given what prepare() returns.
template <class Prepare, class Run>
void measure(const std::string& name, int runs, Prepare&& prepare, Run&& run) {
    std::printf("%s:", name.c_str());
    for (int i = 0; i < runs; ++i) {
        auto&& prepared = prepare();
        const double begin = monotonic_seconds();
        run(prepared);
        std::printf(" %.6f", monotonic_seconds() - begin);
    }
    std::printf("\n");
}

/// Parts of a text, cut before spaces, of about `size` bytes.
std::vector<std::string_view> documents(std::string_view text, std::size_t size) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const std::size_t cut =
            text.size() <= size ? text.size() : std::min(text.find(' ', size), text.size());
        parts.push_back(text.substr(0, cut));
        text.remove_prefix(cut);
    }
    return parts;
}

void encode(const std::string& path, const std::string& text, int runs) {
    const auto load = [&] { return Tokenizer::load(path); };
    const std::vector<std::string_view> parts = documents(text, 4'000);
    std::size_t count = 0;
    for (const int threads : {1, 2}) {
        set_thread_count(threads);
        const std::string on = std::to_string(threads) + (threads == 1 ? " thread" : " threads");
        measure("one text, " + on, runs, load,
                [&](const Tokenizer& tokenizer) { count = tokenizer.encode_ids(text).size(); });
        measure("documents, " + on, runs, load,
                [&](const Tokenizer& tokenizer) { tokenizer.encode_ids_batch(parts); });
    }
    set_thread_count(1);
    const Tokenizer tokenizer = load();
    tokenizer.encode_ids(text);
    measure(
        "again, 1 thread", runs, [] { return 0; }, [&](int) { tokenizer.encode_ids(text); });
    std::printf("tokens: %zu\n", count);
}

}  // namespace

int main(int count, char** values) try {
    const std::vector<std::string> arguments(values + 1, values + count);
    if (arguments.size() == 4 && arguments[0] == "encode") {
        encode(arguments[1], read_file(arguments[2]), std::atoi(arguments[3].c_str()));
    } else if (arguments.size() == 3 && arguments[0] == "letter") {
        const std::string text(1'000'000, 'a');
        set_thread_count(1);
        measure(
            "letter", std::atoi(arguments[2].c_str()), [&] { return Tokenizer::load(arguments[1]); },
            [&](const Tokenizer& tokenizer) { tokenizer.encode_ids(text); });
    } else if (arguments.size() == 3 && arguments[0] == "load") {
        measure(
            "load", std::atoi(arguments[2].c_str()), [] { return 0; },
            [&](int) { Tokenizer::load(arguments[1]); });
    } else {
        std::fprintf(stderr,
                     "usage: tokenizer_speed encode TOKENIZER TEXT RUNS | letter TOKENIZER RUNS | load "
                     "TOKENIZER RUNS\n");
        return 1;
    }
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
