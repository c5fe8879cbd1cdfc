#include <cmath>
#include <cstdio>
#include <fcntl.h>
#include <limits>
#include <stdlib.h>
#include <string>
#include <sys/ioctl.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "../io/temporary_folder.hpp"
#include "../io/thrown_message.hpp"
#include "tenon/io/file.hpp"
#include "tenon/training/curve.hpp"
#include "tenon/training/metrics.hpp"
#include "tenon/training/progress.hpp"

using namespace tenon;

namespace {

std::size_t occurrences(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
}

/// What a progress bar that draws to a file writes.
std::string drawn(void (*use)(Progress&), std::int64_t total) {
    TemporaryFolder folder;
    std::FILE* stream = std::fopen((folder / "log").c_str(), "w");
    REQUIRE(stream != nullptr);
    {
        Progress progress(total, "train", 0, stream);
        use(progress);
    }
    std::fclose(stream);
    return read_file(folder / "log");
}

}  // namespace

TEST_CASE("metrics are a JSON object a line, appended") {
    TemporaryFolder folder;
    std::string path = folder / "metrics.jsonl";
    {
        MetricsWriter metrics(path);
        metrics.write(
            {{"step", 10}, {"loss", 2.5}, {"bad", std::nan("")}, {"done", false}, {"note", "a\"b\n"}});
        CHECK(occurrences(read_file(path), "\n") == 1);  // with the system before the next line
        metrics.write({});
    }
    MetricsWriter(path).write({{"step", std::size_t{11}}, {"big", std::numeric_limits<std::int64_t>::min()}});
    CHECK(read_file(path) ==
          "{\"step\": 10, \"loss\": 2.5, \"bad\": null, \"done\": false, \"note\": \"a\\\"b\\n\"}\n{}\n"
          "{\"step\": 11, \"big\": -9223372036854775808}\n");
}

TEST_CASE("a line that was cut off does not swallow the next") {
    TemporaryFolder folder;
    write_file(folder / "m", "{\"step\": 1");
    MetricsWriter(folder / "m").write({{"step", 2}});
    CHECK(read_file(folder / "m") == "{\"step\": 1\n{\"step\": 2}\n");
    check_mentions(thrown_message([&] { MetricsWriter(folder / "missing/m"); }),
                   {"missing/m", "No such file"});
}

TEST_CASE("a full disk is an error") {
    MetricsWriter metrics("/dev/full");
    check_mentions(thrown_message([&] { metrics.write({{"step", 2}}); }), {"/dev/full", "No space left"});
}

TEST_CASE("away from a terminal progress is a few plain lines") {
    std::string log = drawn(
        [](Progress& progress) {
            for (int i = 1; i <= 1000; ++i) progress.update(i, i * 64, "loss 2.5\n\x1b[31m");
        },
        1000);
    CHECK(occurrences(log, "\n") == 1);
    CHECK(occurrences(log, "\x1b") == 0);
    check_mentions(log, {"train  100%", "1000/1000", "loss 2.5", "tokens/s"});
    CHECK(log.find("left") == std::string::npos);
}

TEST_CASE("progress bears any numbers, and finishes once") {
    std::string log = drawn(
        [](Progress& progress) {
            progress.update(5, 0);
            progress.update(-3, -1);
            progress.finish();
            progress.finish();
        },
        0);
    CHECK(occurrences(log, "\n") == 1);
    check_mentions(log, {"  0%"});
}

TEST_CASE("on a terminal progress is redrawn in its line, which never wraps") {
    int controller = ::posix_openpt(O_RDWR | O_NOCTTY);
    if (controller < 0) {
        MESSAGE("skipped: this machine has no pseudo-terminals");
        return;
    }
    REQUIRE(::grantpt(controller) == 0);
    REQUIRE(::unlockpt(controller) == 0);
    std::FILE* terminal = std::fopen(::ptsname(controller), "w");
    REQUIRE(terminal != nullptr);
    winsize size{};
    size.ws_col = 40;
    REQUIRE(::ioctl(controller, TIOCSWINSZ, &size) == 0);
    {
        Progress progress(100, "train", 0, terminal);
        for (int i = 1; i <= 100; ++i) progress.update(i, i, "loss 2.5");
    }
    // A terminal gives what was written in as many parts as it likes.
    std::string text;
    while (!text.ends_with('\n')) {
        char buffer[4096];
        const ssize_t count = ::read(controller, buffer, sizeof buffer);
        REQUIRE(count > 0);
        text.append(buffer, static_cast<std::size_t>(count));
    }
    std::fclose(terminal);
    ::close(controller);
    CHECK(text == "\rtrain  100% [########################] \x1b[K\r\n");
}

TEST_CASE("a curve is an SVG with its title, labels and series, all escaped") {
    CurvePlot plot{"a < b & \"c\"", "step\x01", "loss\xFF", {}};
    plot.series.push_back({"<script>", {{0, 4}, {1, 3}, {2, 2.5}}});
    plot.series.push_back({"held-out", {{0, 4.2}, {1, std::nan("")}, {2, 3}, {3, 2.9}}});
    std::string svg = svg_of(plot);
    check_mentions(svg, {"<svg xmlns=\"http://www.w3.org/2000/svg\"", "a &lt; b &amp; &quot;c&quot;",
                         "&lt;script&gt;", "step\xEF\xBF\xBD", "loss\xEF\xBF\xBD", "held-out", "</svg>\n"});
    CHECK(svg.find("<script") == std::string::npos);
    CHECK(occurrences(svg, "<polyline") == 2);
    CHECK(occurrences(svg, "<circle") == 1);  // the lone point before the gap
    CHECK(svg.find("nan") == std::string::npos);
}

TEST_CASE("any numbers can be drawn") {
    const double huge = std::numeric_limits<double>::max(), tiny = std::numeric_limits<double>::denorm_min();
    const std::vector<std::vector<CurvePoint>> cases = {
        {},
        {{0, 0}},
        {{1, 5}, {1, 5}},
        {{0, -1e289}, {1, 1e289}},
        {{-huge, huge}, {huge, -huge}, {0, 1}},
        {{0, tiny}, {tiny, 2 * tiny}},
        {{1e16, 1}, {1e16 + 2, 1 + 1e-15}},
        {{INFINITY, 1}, {1, -INFINITY}, {NAN, NAN}},
    };
    for (const auto& points : cases) {
        std::string svg = svg_of({"", "", "", {{"s", points}}});
        CHECK(svg.find("nan") == std::string::npos);
        CHECK(svg.find("inf") == std::string::npos);
        CHECK(svg.size() < 20'000);
    }
}

TEST_CASE("a long curve keeps its extremes and stays small") {
    CurvePlot plot{"", "", "", {{"s", {}}}};
    for (int i = 0; i < 300'000; ++i)
        plot.series[0].points.push_back({double(i), i == 123'456 ? 100.0 : std::sin(i * 0.1)});
    std::string svg = svg_of(plot);
    CHECK(svg.size() < 60'000);
    check_mentions(svg, {",52 "});  // the spike reaches the top
}

TEST_CASE("ticks are round numbers over the range") {
    detail::CurveAxis axis;
    axis.include(0.13);
    axis.include(0.98);
    axis.settle(6);
    std::vector<double> ticks = axis.ticks();
    REQUIRE(ticks.size() == 6);
    for (std::size_t i = 0; i < ticks.size(); ++i) CHECK(ticks[i] == doctest::Approx(0.2 * double(i)));
}
