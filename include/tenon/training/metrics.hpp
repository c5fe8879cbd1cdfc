#pragma once

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <fcntl.h>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>

#include "tenon/io/file.hpp"
#include "tenon/io/json_text.hpp"

namespace tenon {

/// A named value of a metrics line, which views its texts. Numbers that are not finite are written as null.
class Metric {
public:
    template <std::signed_integral T>
    Metric(std::string_view name, T value) : name_(name), kind_(Kind::integer), integer_(value) {}
    template <std::unsigned_integral T>
    Metric(std::string_view name, T value) : name_(name), kind_(Kind::natural), natural_(value) {}
    Metric(std::string_view name, bool value) : name_(name), kind_(Kind::boolean), natural_(value) {}
    Metric(std::string_view name, double value) : name_(name), kind_(Kind::real), real_(value) {}
    Metric(std::string_view name, std::string_view value) : name_(name), kind_(Kind::text), text_(value) {}
    Metric(std::string_view name, const char* value) : Metric(name, std::string_view(value)) {}

    /// Appends the member that the value is in a JSON object.
    void append_to(std::string& json) const {
        append_json_string(json, name_);
        json += ": ";
        switch (kind_) {
            case Kind::integer:
                json += std::to_string(integer_);
                break;
            case Kind::natural:
                json += std::to_string(natural_);
                break;
            case Kind::boolean:
                json += natural_ ? "true" : "false";
                break;
            case Kind::real:
                append_json_number(json, real_);
                break;
            case Kind::text:
                append_json_string(json, text_);
                break;
        }
    }

private:
    enum class Kind { integer, natural, boolean, real, text };

    std::string_view name_;
    Kind kind_;
    union {
        long long integer_;
        unsigned long long natural_;
        double real_;
        std::string_view text_;
    };
};

/// Appends metrics to a file of JSON lines, one object a line: `metrics.write({{"step", 10},
/// {"loss", 2.5}})`. A line is with the system as a whole before `write` returns, so that a crash of the
/// program loses none.
class MetricsWriter {
public:
    /// Opens the file, or creates it; what it holds is kept. Throws FileError.
    explicit MetricsWriter(std::string path) : path_(std::move(path)) {
        detail::require_usable_path(path_);
        file_.reset(::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
        if (!file_.is_open()) detail::throw_system_error(path_, "opening for appending", errno);
        // A line that a full disk or a lost machine cut off must not swallow the next.
        off_t size = ::lseek(file_.number(), 0, SEEK_END);
        char last = '\n';
        if (size > 0 && ::pread(file_.number(), &last, 1, size - 1) == 1 && last != '\n') append("\n");
    }

    const std::string& path() const { return path_; }

    /// Appends a line. Throws FileError.
    void write(std::span<const Metric> metrics) {
        line_ = '{';
        for (const Metric& metric : metrics) {
            if (line_.size() > 1) line_ += ", ";
            metric.append_to(line_);
        }
        line_ += "}\n";
        append(line_);
    }
    void write(std::initializer_list<Metric> metrics) { write(std::span(metrics.begin(), metrics.size())); }

private:
    void append(std::string_view text) {
        while (!text.empty()) {
            ssize_t count = ::write(file_.number(), text.data(), text.size());
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) detail::throw_system_error(path_, "writing", errno);
            text.remove_prefix(static_cast<std::size_t>(count));
        }
    }

    std::string path_;
    detail::FileDescriptor file_;
    std::string line_;  // kept, so that a steady run allocates nothing
};

}  // namespace tenon
