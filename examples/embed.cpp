// Embeds sentences, and says which are alike, with an encoder's folder: configuration, weights,
// tokenizer.json and, where sentence-transformers wrote it, how to pool; or with a GGUF file.

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <tenon/tenon.hpp>

#include "arguments.hpp"
#include "sentence_encoder.hpp"

namespace {

/// Appends the lines of a text.
void add_lines(std::string_view text, std::vector<std::string>& lines) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        lines.emplace_back(line);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

std::string standard_input() {
    std::string text;
    char part[1 << 16];
    for (std::size_t size; (size = std::fread(part, 1, sizeof part, stdin)) > 0;) text.append(part, size);
    return text;
}

/// The numbers of a row, as short as reads back, with `between` between them.
void append_numbers(std::string& text, const float* row, int width, const char* between) {
    char digits[32];
    for (int i = 0; i < width; ++i) {
        if (i > 0) text += between;
        text.append(digits, std::to_chars(digits, digits + sizeof digits, row[i]).ptr);
    }
}

/// Each sentence, and below it the others that are most like it: the cosine of the angle between embeddings.
std::string most_similar(const std::vector<std::string>& sentences, std::vector<float> embeddings, int width,
                         std::size_t most) {
    const std::size_t count = sentences.size(), columns = static_cast<std::size_t>(width);
    for (std::size_t row = 0; row < count; ++row) {
        float* const x = embeddings.data() + row * columns;
        const double length = std::sqrt(std::inner_product(x, x + columns, x, 0.0));
        for (std::size_t i = 0; i < columns; ++i) x[i] = static_cast<float>(x[i] / std::max(length, 1e-12));
    }
    std::string text;
    std::vector<std::pair<float, std::size_t>> alike(count);
    for (std::size_t row = 0; row < count; ++row) {
        const float* const x = embeddings.data() + row * columns;
        for (std::size_t other = 0; other < count; ++other) {
            const float* const y = embeddings.data() + other * columns;
            // That with itself comes last.
            alike[other] = {other == row ? -2 : std::inner_product(x, x + columns, y, 0.0f), other};
        }
        const std::size_t shown = std::min(most, count - 1);
        std::partial_sort(alike.begin(), alike.begin() + static_cast<std::ptrdiff_t>(shown), alike.end(),
                          [](const auto& a, const auto& b) {
                              return a.first != b.first ? a.first > b.first : a.second < b.second;
                          });
        text += sentences[row] + "\n";
        for (std::size_t i = 0; i < shown; ++i) {
            char number[32];
            std::snprintf(number, sizeof number, "  %7.4f  ", static_cast<double>(alike[i].first));
            text += number + sentences[alike[i].second] + "\n";
        }
    }
    return text;
}

std::string written(const std::string& format, const std::vector<std::string>& sentences,
                    const std::vector<float>& embeddings, int width, std::size_t most) {
    if (format == "similar") return most_similar(sentences, embeddings, width, most);
    std::string text;
    for (std::size_t i = 0; i < sentences.size(); ++i) {
        const float* const row = embeddings.data() + i * static_cast<std::size_t>(width);
        if (format == "binary") {
            text.append(reinterpret_cast<const char*>(row), static_cast<std::size_t>(width) * sizeof(float));
        } else if (format == "json") {
            text += "{\"text\": ";
            tenon::append_json_string(text, sentences[i]);
            text += ", \"embedding\": [";
            append_numbers(text, row, width, ", ");
            text += "]}\n";
        } else {
            append_numbers(text, row, width, " ");
            text += "\n";
        }
    }
    return text;
}

}  // namespace

int main(int count, char** values) {
    return run_program([&] {
        const Arguments arguments(
            count, values,
            "embed --model MODEL [SENTENCE...] [--file FILE]... [--format similar|text|json|binary]",
            {{"--model", "MODEL",
              "config.json, model.safetensors and tokenizer.json of an encoder, such as "
              "all-MiniLM-L6-v2, or a GGUF file"},
             {"--file", "FILE",
              "of sentences, one a line; without any, and without arguments, standard input"},
             {"--format", "FORMAT",
              "similar: each sentence and those most like it; text: one embedding a line; json: an object a "
              "line; binary: f32 (similar)"},
             {"--most", "NUMBER", "of similar sentences shown for each (3)"},
             {"--out", "FILE", "where to write (standard output)"},
             {"--batch", "NUMBER", "of sentences that go through the model together (32)"},
             {"--threads", "NUMBER", "(as many as there are processors)"}});
        const std::string model = arguments.text("--model");
        const std::string format = arguments.one_of("--format", {"similar", "text", "json", "binary"});
        const auto most = static_cast<std::size_t>(arguments.integer("--most", 3));
        const auto batch = static_cast<std::size_t>(arguments.integer("--batch", 32, 1));
        if (arguments.has("--threads"))
            tenon::set_thread_count(static_cast<int>(arguments.integer("--threads", {}, 1, 1024)));
        std::vector<std::string> sentences = arguments.positional();
        for (const std::string& file : arguments.all("--file")) add_lines(tenon::read_file(file), sentences);

        const tenon::SentenceOptions options = tenon::read_sentence_options(model);
        const tenon::OwnedConfiguration configuration = tenon::read_configuration(
            options.model.ends_with(".gguf") ? options.model : options.model + "/config.json");
        const tenon::Architecture architecture = tenon::require_architecture(configuration.table());
        tenon::visit_encoder(architecture, [&]<class A>(A) {
            SentenceEncoder<tenon::Cpu, tenon::F32, typename A::Features> encoder(options);
            if (sentences.empty() && !arguments.has("--file")) add_lines(standard_input(), sentences);
            if (sentences.empty()) arguments.fail("expected sentences, got none");
            const auto start = std::chrono::steady_clock::now();
            const std::vector<float> embeddings = encoder(sentences, batch);
            const double seconds =
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            std::fprintf(stderr, "%zu sentences, %lld tokens in %.2f s: %.1f sentences/s\n", sentences.size(),
                         static_cast<long long>(encoder.tokens()), seconds,
                         static_cast<double>(sentences.size()) / seconds);
            const std::string text = written(format, sentences, embeddings, encoder.width(), most);
            if (arguments.has("--out"))
                tenon::write_file(arguments.text("--out"), text);
            else
                std::fwrite(text.data(), 1, text.size(), stdout);
        });
    });
}
