#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tenon/io/atomic_file.hpp>
#include <tenon/io/file.hpp>
#include <tenon/io/json.hpp>
#include <tenon/training/curve.hpp>

namespace tenon {

namespace detail {

/// Calls f(line, object) for each line of a file of JSON lines that is a whole object with a step; others,
/// such as a crash of the machine may leave, are passed over.
template <class F>
void for_each_metrics_line(const std::string& path, F&& f) {
    const std::string text = path_exists(path) ? read_file(path) : "";
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        if (end == std::string::npos) return;  // cut off
        const std::string line = text.substr(at, end + 1 - at);
        at = end + 1;
        std::optional<JsonDocument> document;
        try {
            document = parse_json(line, path);
        } catch (const FileError&) {
            continue;
        }
        const auto step = document->root().find("step");
        if (step && step->is(JsonKind::integer)) f(line, document->root());
    }
}

}  // namespace detail

/// The values of a metric by their steps, as a MetricsWriter wrote them; none where there is no file. Throws
/// FileError.
inline std::vector<CurvePoint> read_metric(const std::string& path, std::string_view name) {
    std::vector<CurvePoint> points;
    detail::for_each_metrics_line(path, [&](const std::string&, Json line) {
        const auto value = line.find(name);
        if (value && !value->is(JsonKind::null)) points.push_back({line.at("step").real(), value->real()});
    });
    return points;
}

/// Drops the lines beyond a step, which a run that is taken up there will write again, and what is no line of
/// metrics. Throws FileError.
inline void keep_metrics_until(const std::string& path, std::int64_t step) {
    std::string kept;
    detail::for_each_metrics_line(path, [&](const std::string& text, Json line) {
        if (line.at("step").integer() <= step) kept += text;
    });
    write_file(path, kept);
}

}  // namespace tenon
