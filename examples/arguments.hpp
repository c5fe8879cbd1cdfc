#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "tenon/io/nearest_names.hpp"

/// The command lines of the examples: `--flag value`, `--flag=value`, switches without a value, flags that
/// may come several times, and what is no flag. `--` ends the flags, `--help` asks for help.
///
///     int main(int count, char** values) {
///         return run_program([&] {
///             const Arguments arguments(count, values, "greet NAME... [--times NUMBER] [--loud]",
///                                       {{"--times", "NUMBER", "how often (1)"}, {"--loud", "", "shout"}});
///             const auto times = arguments.integer("--times", 1);
///             for (const std::string& name : arguments.positional(1)) greet(name, times,
///             arguments.has("--loud"));
///         });
///     }

/// A flag, what its value is (empty for a switch), and a line of help.
struct Flag {
    std::string_view name;
    std::string_view value;
    std::string_view help;
};

/// A command line that the program cannot take. `usage` is the line that says what it takes.
struct UsageError : std::runtime_error {
    UsageError(const std::string& problem, std::string usage_line)
        : std::runtime_error(problem), usage(std::move(usage_line)) {}
    std::string usage;
};

/// Thrown where the user asked for help.
struct HelpRequest {
    std::string text;
};

class Arguments {
public:
    /// Reads the command line after values[0]. Throws UsageError for a flag that is not in `flags` (naming
    /// the nearest) or that lacks its value, and HelpRequest for --help or -h.
    Arguments(int count, const char* const* values, std::string usage, std::initializer_list<Flag> flags)
        : usage_(std::move(usage)), flags_(flags) {
        bool flags_have_ended = false;
        for (int i = 1; i < count; ++i) {
            const std::string_view argument = values[i];
            if (flags_have_ended || argument.size() < 2 || argument[0] != '-') {
                positional_.emplace_back(argument);
            } else if (argument == "--") {
                flags_have_ended = true;
            } else if (argument == "--help" || argument == "-h") {
                throw HelpRequest{help()};
            } else {
                const std::size_t equals = std::min(argument.find('='), argument.size());
                const Flag& flag = find(argument.substr(0, equals));
                const bool has_value = equals < argument.size();
                if (flag.value.empty() && has_value) fail("expected no value for " + std::string(flag.name));
                if (!flag.value.empty() && !has_value && i + 1 == count) {
                    fail("expected " + described(flag) + ", got no value");
                }
                const std::string_view value = has_value            ? argument.substr(equals + 1)
                                               : flag.value.empty() ? ""
                                                                    : values[++i];
                given_.emplace_back(flag.name, value);
            }
        }
    }

    bool has(std::string_view name) const { return !all(name).empty(); }

    /// All values of a flag, in order.
    std::vector<std::string> all(std::string_view name) const {
        std::vector<std::string> values;
        for (const auto& [given, value] : given_) {
            if (given == name) values.push_back(value);
        }
        return values;
    }

    /// The flag's last value. Throws UsageError if it was not given.
    std::string text(std::string_view name) const {
        const std::vector<std::string> values = all(name);
        if (values.empty()) fail("expected " + described(find(name)));
        return values.back();
    }

    std::string text(std::string_view name, std::string_view otherwise) const {
        return has(name) ? text(name) : std::string(otherwise);
    }

    /// The flag's last value as a whole number. Throws UsageError if it is none, or out of range.
    std::int64_t integer(std::string_view name, std::optional<std::int64_t> otherwise = {},
                         std::int64_t minimum = 0, std::int64_t maximum = INT32_MAX) const {
        if (otherwise && !has(name)) return *otherwise;
        const auto number = parsed<std::int64_t>(name, "a whole number");
        if (number < minimum || number > maximum) {
            fail("expected " + described(find(name)) + ", from " + std::to_string(minimum) + " to " +
                 std::to_string(maximum) + ", got " + std::to_string(number));
        }
        return number;
    }

    /// The flag's last value as a finite number. Throws UsageError if it is none, or below `minimum`.
    double number(std::string_view name, std::optional<double> otherwise = {}, double minimum = 0) const {
        if (otherwise && !has(name)) return *otherwise;
        const auto number = parsed<double>(name, "a finite number");
        if (number - number != 0 || number < minimum) {
            char least[32];
            std::snprintf(least, sizeof(least), "%g", minimum);
            fail("expected " + described(find(name)) + ", a finite number of at least " + least + ", got " +
                 text(name));
        }
        return number;
    }

    /// The values of a flag that look like PATH:WEIGHT; without a weight it is 1. Throws UsageError for a
    /// weight that is no positive, finite number.
    std::vector<std::pair<std::string, double>> weighted(std::string_view name) const {
        std::vector<std::pair<std::string, double>> values;
        for (const std::string& value : all(name)) {
            const std::size_t colon = value.rfind(':');
            if (colon == std::string::npos) {
                values.emplace_back(value, 1);
                continue;
            }
            double weight = 0;
            const char *begin = value.data() + colon + 1, *last = value.data() + value.size();
            const auto [end, error] = std::from_chars(begin, last, weight);
            if (error != std::errc() || end != last || !(weight > 0) || weight - weight != 0)
                fail("expected " + described(find(name)) + " with a positive weight, got \"" + value + "\"");
            values.emplace_back(value.substr(0, colon), weight);
        }
        return values;
    }

    /// The flag's last value, or the first of `names` if it was not given. Throws UsageError if it is none of
    /// them.
    std::string one_of(std::string_view name, const std::vector<std::string>& names) const {
        const std::string value = text(name, names.front());
        if (std::find(names.begin(), names.end(), value) != names.end()) return value;
        std::string known;
        for (const std::string& each : names) known += (known.empty() ? "" : ", ") + each;
        fail("expected " + described(find(name)) + ", one of " + known + ", got \"" + value + "\"");
    }

    /// What is no flag. Throws UsageError for fewer than `minimum` or more than `maximum`.
    const std::vector<std::string>& positional(std::size_t minimum = 0,
                                               std::size_t maximum = SIZE_MAX) const {
        if (positional_.size() < minimum) fail("expected more arguments");
        if (positional_.size() > maximum) fail("unexpected argument \"" + positional_[maximum] + "\"");
        return positional_;
    }

    /// Throws UsageError.
    [[noreturn]] void fail(const std::string& problem) const { throw UsageError(problem, usage_); }

private:
    static std::string described(const Flag& flag) {
        return std::string(flag.name) + (flag.value.empty() ? "" : " ") + std::string(flag.value);
    }

    const Flag& find(std::string_view name) const {
        for (const Flag& flag : flags_) {
            if (flag.name == name) return flag;
        }
        fail("unknown flag " + std::string(name) + tenon::detail::nearest_names_message(name, flags_));
    }

    template <class Number>
    Number parsed(std::string_view name, std::string_view expected) const {
        const std::string value = text(name);
        Number number{};
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
        if (error != std::errc() || end != value.data() + value.size()) {
            fail("expected " + described(find(name)) + ", " + std::string(expected) + ", got \"" + value +
                 "\"");
        }
        return number;
    }

    std::string help() const {
        std::size_t width = 0;
        for (const Flag& flag : flags_) width = std::max(width, described(flag).size());
        std::string text = "usage: " + usage_ + "\n";
        for (const Flag& flag : flags_) {
            std::string left = described(flag);
            left.resize(width + 2, ' ');
            text += "  " + left + std::string(flag.help) + "\n";
        }
        return text;
    }

    std::string usage_;
    std::vector<Flag> flags_;
    std::vector<std::pair<std::string_view, std::string>> given_;
    std::vector<std::string> positional_;
};

/// Runs the body of a program and returns its exit code: 0, 2 for a wrong command line, 1 for any other
/// error. The messages go to standard error.
template <class Body>
int run_program(Body&& body) {
    // Lines appear when they are written, also where standard output is a file.
    std::setvbuf(stdout, nullptr, _IOLBF, 1 << 16);
    try {
        body();
    } catch (const HelpRequest& request) {
        std::fputs(request.text.c_str(), stdout);
    } catch (const UsageError& error) {
        std::fprintf(stderr, "%s\nusage: %s\n", error.what(), error.usage.c_str());
        return 2;
    } catch (const std::bad_alloc&) {
        std::fputs("there is not enough memory\n", stderr);
        return 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
        std::fputs("writing to standard output failed\n", stderr);
        return 1;
    }
    return 0;
}
