// What chat does on every device.

#include "../chat.hpp"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>

#include <tenon/io/generation_settings.hpp>
#include <tenon/io/read_configuration.hpp>
#include <tenon/tokenizer/read_tokenizer.hpp>

#include "../arguments.hpp"
#include "../conversation.hpp"

namespace {

volatile std::sig_atomic_t is_interrupted = 0;

/// Ctrl-C ends an answer, and where a question is awaited, the program.
void catch_interrupts() {
    struct sigaction action = {};
    action.sa_handler = [](int) { is_interrupted = 1; };  // without SA_RESTART: reading ends, too
    sigaction(SIGINT, &action, nullptr);
}

/// A line of standard input; nothing at its end, or when interrupted.
std::optional<std::string> read_line() {
    std::string line;
    for (int character; (character = std::getc(stdin)) != EOF;) {
        if (character == '\n') return line;
        line += static_cast<char>(character);
    }
    return line.empty() || is_interrupted ? std::nullopt : std::optional(line);
}

void show(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

class Timer {
public:
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

struct TimedTokenizer {
    tenon::Tokenizer tokenizer;
    double seconds;
};

TimedTokenizer timed_tokenizer(const std::string& path) {
    const Timer timer;
    tenon::Tokenizer tokenizer = tenon::Tokenizer::load(path);
    return {std::move(tokenizer), timer.seconds()};
}

void report(const Reply& reply) {
    std::fprintf(stderr, "[%d tokens read, the first answered after %.3f s; %d tokens", reply.read,
                 reply.first_seconds, reply.written);
    if (reply.written > 1 && reply.seconds > 0)
        std::fprintf(stderr, ", %.1f tokens/s", (reply.written - 1) / reply.seconds);
    std::fprintf(stderr, "]%s\n", reply.is_full ? " the context is full: the answer is cut off" : "");
}

}  // namespace

int chat(int count, char** values, SpeakerLoader& load) {
    using namespace tenon;
    return run_program([&] {
        const Arguments arguments(
            count, values, "chat MODEL [--prompt TEXT] [--system TEXT] [--temperature NUMBER]",
            {{"--prompt", "TEXT", "answer this alone (else lines of standard input)"},
             {"--system", "TEXT", "what the model is told first"},
             {"--template", "FILE", "a chat template, instead of the model's own"},
             {"--context", "NUMBER", "tokens that a conversation has room for, at most the model's (4096)"},
             {"--tokens", "NUMBER", "of an answer, at most (as many as there is room for)"},
             {"--temperature", "NUMBER", "0 takes the likeliest token (the model's own)"},
             {"--top-k", "NUMBER", "draw from the k likeliest only; 0: from all (the model's own)"},
             {"--top-p", "NUMBER", "draw from the likeliest that reach p only (the model's own)"},
             {"--repetition-penalty", "NUMBER", "of tokens that came before; 1: none (the model's own)"},
             {"--seed", "NUMBER", "of the drawing (1)"}});
        const std::string path = arguments.positional(1, 1)[0];
        const auto most = static_cast<int>(arguments.integer("--tokens", INT32_MAX, 1));
        const auto context = static_cast<int>(arguments.integer("--context", 4096, 2));
        const Seed drawing = seed(static_cast<std::uint64_t>(arguments.integer("--seed", 1)));

        const OwnedConfiguration configuration =
            read_configuration(path.ends_with(".gguf") ? path : path + "/config.json");
        const Architecture architecture = require_architecture(configuration.table());
        require_decoder(architecture);
        GenerationSettings settings = read_generation_settings(path);
        SamplingOptions& sampling = settings.sampling;
        sampling.temperature = arguments.number("--temperature", sampling.temperature);
        sampling.top_k = static_cast<int>(arguments.integer("--top-k", sampling.top_k));
        sampling.top_p = arguments.number("--top-p", sampling.top_p);
        sampling.repetition_penalty = arguments.number("--repetition-penalty", sampling.repetition_penalty);
        require_valid(sampling);
        ChatTemplate chat_template = arguments.has("--template")
                                         ? ChatTemplate(read_file(arguments.text("--template")))
                                         : ChatTemplate::load(path);

        // The tokenizer is read while the model is.
        std::future<TimedTokenizer> reading = std::async(std::launch::async, timed_tokenizer, path);
        const Timer model_timer;
        const auto speaker = load(path, architecture, context, sampling, drawing);
        const double model_seconds = model_timer.seconds();
        TimedTokenizer tokenizer = reading.get();
        std::fprintf(
            stderr, "[%s, room for %d tokens; model read in %.3f s, meanwhile tokenizer in %.3f s]\n",
            std::string(architecture.name).c_str(), speaker->capacity(), model_seconds, tokenizer.seconds);
        Conversation conversation(std::move(tokenizer.tokenizer), std::move(chat_template), *speaker,
                                  settings.ends, arguments.text("--system", ""));

        catch_interrupts();
        const auto answer = [&](const std::string& question) {
            return conversation.answer(question, most, show, [] { return !is_interrupted; });
        };
        const std::string no_room =
            "expected a question with room in " + std::to_string(speaker->capacity()) + " tokens, got more";
        if (arguments.has("--prompt")) {
            const Reply reply = answer(arguments.text("--prompt"));
            if (reply.has_no_room) throw Error(no_room);
            show("\n");
            return report(reply);
        }
        const bool is_terminal = isatty(STDIN_FILENO) != 0;
        for (;;) {
            is_interrupted = 0;
            if (is_terminal) show("> ");
            const std::optional<std::string> question = read_line();
            if (!question) break;
            if (question->empty()) continue;
            Reply reply = answer(*question);
            if (reply.has_no_room && conversation.has_begun()) {
                std::fputs("[the context is full: the conversation begins anew]\n", stderr);
                conversation.begin_anew();
                reply = answer(*question);
            }
            if (reply.has_no_room) {
                std::fprintf(stderr, "[%s]\n", no_room.c_str());
                continue;
            }
            show("\n");
            report(reply);
        }
        if (is_terminal) show("\n");
    });
}
