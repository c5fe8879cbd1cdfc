#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

namespace tenon {

/// How often something is done in a run: each so many steps, each so many seconds, or never.
class Interval {
public:
    Interval() = default;  ///< never

    static Interval steps(std::int64_t count) {
        Interval interval;
        interval.steps_ = count;
        return interval;
    }
    static Interval seconds(double count) {
        Interval interval;
        interval.seconds_ = count;
        return interval;
    }

    /// Reads "500", steps; "90s" or "10m", a time; or "0", never. Nothing if it is none of these.
    static std::optional<Interval> parse(std::string_view text) {
        const char unit = text.empty() ? '\0' : text.back();
        const bool is_time = unit == 's' || unit == 'm';
        if (is_time) text.remove_suffix(1);
        std::int64_t count = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
        if (error != std::errc() || end != text.data() + text.size() || count < 0 || count > INT32_MAX)
            return std::nullopt;
        return is_time ? seconds(static_cast<double>(count) * (unit == 'm' ? 60 : 1)) : steps(count);
    }

    /// Whether it is time, once `step` steps are done, `seconds` into the run; asked after each step. A run
    /// that is taken up again does the same at the same steps.
    bool is_due(std::int64_t step, double seconds) {
        if (steps_ > 0) return step % steps_ == 0;
        if (!(seconds_ > 0) || seconds - last_ < seconds_) return false;
        last_ = seconds;
        return true;
    }

    /// Counts seconds from here on: those of an earlier run have passed.
    void begin_at(double seconds) { last_ = seconds; }

private:
    std::int64_t steps_ = 0;
    double seconds_ = 0, last_ = 0;
};

}  // namespace tenon
