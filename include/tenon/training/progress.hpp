#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <utility>

namespace tenon {

/// Seconds on a clock that only runs forward.
inline double monotonic_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Shows how far a run is: the fraction, a free text such as the loss, tokens a second and the time left. On
/// a terminal the line is redrawn in place, at most ten times a second; elsewhere a line is printed every few
/// seconds. Cheap to call at every step. It writes to stderr, or to `stream`; failures to write are ignored.
class Progress {
public:
    /// `total` steps are to be done, of which `done` were before this run.
    explicit Progress(std::int64_t total, std::string label = "", std::int64_t done = 0,
                      std::FILE* stream = stderr)
        : total_(std::max<std::int64_t>(total, 1)),
          label_(std::move(label)),
          stream_(stream),
          is_terminal_(::isatty(::fileno(stream)) == 1),
          done_(done),
          measured_{done, 0, monotonic_seconds()} {
        make_printable(label_);
        last_drawn_ = measured_.seconds;
    }

    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress() { finish(); }

    /// Tells that `done` steps are done, and that this run has seen `tokens` tokens. Draws if it is time to.
    void update(std::int64_t done, std::int64_t tokens, std::string_view text = "") {
        done_ = done;
        tokens_ = tokens;
        text_ = text;
        make_printable(text_);
        double seconds = monotonic_seconds();
        if (seconds - last_drawn_ < (is_terminal_ ? 0.1 : 5.0)) return;
        measure(seconds);
        draw(seconds);
    }

    /// Makes room for a line of another's: clears the one on the terminal, until it is drawn again.
    void clear() {
        if (!is_terminal_ || finished_) return;
        std::fputs("\r\x1b[K", stream_);
        std::fflush(stream_);
    }

    /// Draws a last time and ends the line; does nothing the second time.
    void finish() {
        if (std::exchange(finished_, true)) return;
        double seconds = monotonic_seconds();
        measure(seconds);
        draw(seconds);
        if (is_terminal_) std::fputc('\n', stream_);
        std::fflush(stream_);
    }

private:
    struct Measurement {
        std::int64_t done;
        std::int64_t tokens;
        double seconds;
    };

    /// Control characters would break the line.
    static void make_printable(std::string& text) {
        for (char& character : text) {
            if (static_cast<unsigned char>(character) < 0x20 || character == 0x7F) character = ' ';
        }
    }

    /// Follows both rates with a memory of about ten seconds, so that a slow start is forgotten.
    void measure(double seconds) {
        double elapsed = seconds - measured_.seconds;
        if (elapsed <= 0) return;
        double weight = has_rates_ ? elapsed / (elapsed + 10) : 1;
        steps_per_second_ +=
            weight * (static_cast<double>(done_ - measured_.done) / elapsed - steps_per_second_);
        tokens_per_second_ +=
            weight * (static_cast<double>(tokens_ - measured_.tokens) / elapsed - tokens_per_second_);
        has_rates_ = true;
        measured_ = {done_, tokens_, seconds};
    }

    void draw(double seconds) {
        last_drawn_ = seconds;
        double fraction = std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
        line_ = label_;
        append("%s%3d%%", label_.empty() ? "" : "  ", static_cast<int>(100 * fraction));
        if (is_terminal_) {
            constexpr std::size_t width = 24;
            auto filled = static_cast<std::size_t>(fraction * width);
            line_ += " [";
            line_.append(filled, '#').append(width - filled, '.');
            line_ += ']';
        }
        append("  %lld/%lld", static_cast<long long>(done_), static_cast<long long>(total_));
        if (!text_.empty()) (line_ += "  ") += text_;
        if (tokens_ > 0) append_rate(tokens_per_second_);
        if (done_ < total_ && steps_per_second_ > 0) {
            append_duration(static_cast<double>(total_ - done_) / steps_per_second_);
        }

        if (is_terminal_) {
            winsize size{};
            bool known = ::ioctl(::fileno(stream_), TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
            truncate(line_, known ? size.ws_col - 1u : 79u);
            line_.insert(0, 1, '\r');
            line_ += "\x1b[K";
        } else {
            line_ += '\n';
        }
        std::fwrite(line_.data(), 1, line_.size(), stream_);
        std::fflush(stream_);
    }

    template <typename... Values>
    void append(const char* format, Values... values) {
        char text[80];
        std::snprintf(text, sizeof text, format, values...);
        line_ += text;
    }

    void append_rate(double value) {
        constexpr const char* units[] = {"", "k", "M", "G"};
        std::size_t unit = 0;
        for (; value >= 999.5 && unit < 3; ++unit) value /= 1000;
        append("  %.*f%s tokens/s", value < 100 && unit > 0 ? 1 : 0, value, units[unit]);
    }

    void append_duration(double seconds) {
        auto whole = static_cast<long long>(std::min(seconds, 1e9) + 0.5);
        long long hours = whole / 3600, minutes = whole / 60 % 60;
        if (hours > 0) {
            append("  %lld:%02lld:%02lld left", hours, minutes, whole % 60);
        } else {
            append("  %lld:%02lld left", minutes, whole % 60);
        }
    }

    /// A line that wraps could not be redrawn. A character is cut whole.
    static void truncate(std::string& line, std::size_t columns) {
        std::size_t column = 0;
        for (std::size_t i = 0; i < line.size(); ++i) {
            bool begins_character = (static_cast<unsigned char>(line[i]) & 0xC0) != 0x80;
            if (begins_character && column++ == columns) return line.resize(i);
        }
    }

    std::int64_t total_;
    std::string label_;
    std::FILE* stream_;
    bool is_terminal_;
    bool finished_ = false;
    bool has_rates_ = false;
    std::int64_t done_;
    std::int64_t tokens_ = 0;
    std::string text_;
    std::string line_;  // kept, so that a steady run allocates nothing
    Measurement measured_;
    double last_drawn_ = 0;
    double steps_per_second_ = 0;
    double tokens_per_second_ = 0;
};

}  // namespace tenon
