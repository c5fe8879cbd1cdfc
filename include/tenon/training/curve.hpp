#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/io/atomic_file.hpp"
#include "tenon/io/json_text.hpp"

namespace tenon {

/// A point of a curve. One that is not finite is left out and interrupts the line.
struct CurvePoint {
    double x;
    double y;
};

struct CurveSeries {
    std::string name;
    std::vector<CurvePoint> points;
};

/// Curves to draw over common axes.
struct CurvePlot {
    std::string title;
    std::string x_label;
    std::string y_label;
    std::vector<CurveSeries> series;
};

namespace detail {

/// Text inside XML. What XML 1.0 cannot hold becomes U+FFFD.
inline std::string xml_escaped(std::string_view text) {
    std::string result;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t length = utf8_sequence_length(text, at);
        std::string_view character = text.substr(at, std::max<std::size_t>(length, 1));
        bool is_control = static_cast<unsigned char>(text[at]) < 0x20 && text[at] != '\n' && text[at] != '\t';
        if (length == 0 || is_control || character == "\xEF\xBF\xBE" || character == "\xEF\xBF\xBF") {
            result += replacement_character;
        } else if (character == "&") {
            result += "&amp;";
        } else if (character == "<") {
            result += "&lt;";
        } else if (character == ">") {
            result += "&gt;";
        } else if (character == "\"") {
            result += "&quot;";
        } else {
            result += character;
        }
        at += character.size();
    }
    return result;
}

/// A number of at most `digits` significant digits, whatever the locale.
inline std::string short_number(double value, int digits) {
    char text[64];
    return {text, std::to_chars(text, text + sizeof text, value, std::chars_format::general, digits).ptr};
}

/// A range of values and the round numbers in it that get ticks.
class CurveAxis {
public:
    void include(double value) {
        low_ = std::min(low_, value);
        high_ = std::max(high_, value);
    }

    /// Chooses the ticks: multiples of 1, 2 or 5 times a power of ten, about `count` of them. To be called
    /// once all values are in.
    void settle(int count) {
        if (low_ > high_) low_ = 0, high_ = 1;
        double least = std::max(std::abs(low_), std::abs(high_)) * 1e-6;
        if (!(high_ - low_ > least)) {
            double margin = std::max(10 * least, low_ == 0 ? 0.5 : 1e-300);
            low_ -= margin;
            high_ += margin;
        }
        double rough = (high_ - low_) / count;
        double power = std::pow(10.0, std::floor(std::log10(rough)));
        double ratio = rough / power;
        step_ = power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
        low_ = std::min(low_, std::floor(low_ / step_ + 0.25) * step_);
        high_ = std::max(high_, std::ceil(high_ / step_ - 0.25) * step_);
    }

    std::vector<double> ticks() const {
        std::vector<double> result;
        double first = std::ceil(low_ / step_ - 1e-6);
        for (int i = 0; i < 32 && (first + i) * step_ <= high_ + 1e-6 * step_; ++i) {
            double tick = (first + i) * step_;
            result.push_back(tick == 0 ? 0 : tick);  // no negative zero
        }
        return result;
    }

    /// 0 at the low end of the range, 1 at its high end.
    double fraction(double value) const { return (value - low_) / (high_ - low_); }

private:
    double low_ = std::numeric_limits<double>::infinity();
    double high_ = -std::numeric_limits<double>::infinity();
    double step_ = 1;
};

/// Draws one plot. Coordinates are pixels from the top left.
class CurveDrawing {
public:
    explicit CurveDrawing(const CurvePlot& plot) : plot_(plot) {
        for (const CurveSeries& series : plot.series) {
            for (CurvePoint point : series.points) {
                if (!is_drawable(point)) continue;
                x_.include(point.x);
                y_.include(point.y);
            }
        }
        x_.settle(8);
        y_.settle(6);
    }

    std::string draw() {
        svg_ =
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"480\" viewBox=\"0 0 800 480\" "
            "font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#444\">\n";
        svg_ += "<rect width=\"800\" height=\"480\" fill=\"#fff\"/>\n";
        draw_axes();
        for (std::size_t i = 0; i < plot_.series.size(); ++i) draw_series(i);
        draw_legend();
        return svg_ += "</svg>\n";
    }

private:
    static constexpr double left = 76, right = 776, top = 52, bottom = 422;

    /// Okabe and Ito's colours, which the colour-blind tell apart; then grey.
    static std::string_view color(std::size_t i) {
        constexpr std::string_view colors[] = {"#0072b2", "#d55e00", "#009e73",
                                               "#cc79a7", "#e69f00", "#56b4e9"};
        return i < std::size(colors) ? colors[i] : "#888888";
    }

    /// Beyond this the axes' arithmetic overflows.
    static bool is_drawable(CurvePoint point) {
        return std::abs(point.x) < 1e290 && std::abs(point.y) < 1e290;
    }

    double column(double x) const { return left + (right - left) * x_.fraction(x); }
    double row(double y) const { return bottom - (bottom - top) * y_.fraction(y); }

    /// ` name="value"`, to a hundredth of a pixel.
    static std::string attribute(std::string_view name, double value) {
        return ' ' + std::string(name) + "=\"" + pixels(value) + '"';
    }
    static std::string pixels(double value) { return short_number(std::round(value * 100) / 100, 7); }

    void draw_line(double x1, double y1, double x2, double y2, std::string_view stroke) {
        svg_ += "<line" + attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) +
                attribute("y2", y2) + " stroke=\"" + std::string(stroke) + "\"/>\n";
    }

    void draw_text(double x, double y, std::string_view text, std::string_view attributes) {
        svg_ += "<text" + attribute("x", x) + attribute("y", y) + ' ' + std::string(attributes) + '>' +
                xml_escaped(text) + "</text>\n";
    }

    void draw_axes() {
        for (double tick : y_.ticks()) {
            draw_line(left, row(tick), right, row(tick), "#e6e6e6");
            draw_text(left - 10, row(tick) + 4.5, short_number(tick, 6), "text-anchor=\"end\"");
        }
        for (double tick : x_.ticks()) {
            draw_line(column(tick), bottom, column(tick), bottom + 5, "#888");
            draw_text(column(tick), bottom + 21, short_number(tick, 6), "text-anchor=\"middle\"");
        }
        draw_line(left, bottom, right, bottom, "#888");
        draw_text(left, 30, plot_.title, "font-size=\"17\" font-weight=\"bold\" fill=\"#222\"");
        draw_text((left + right) / 2, 464, plot_.x_label, "text-anchor=\"middle\"");
        draw_text(-(top + bottom) / 2, 20, plot_.y_label, "text-anchor=\"middle\" transform=\"rotate(-90)\"");
    }

    void draw_series(std::size_t i) {
        const std::vector<CurvePoint>& points = plot_.series[i].points;
        for (std::size_t first = 0; first < points.size();) {
            std::size_t last = first;
            while (last < points.size() && is_drawable(points[last])) ++last;
            if (last == first + 1) {
                svg_ += "<circle" + attribute("cx", column(points[first].x)) +
                        attribute("cy", row(points[first].y)) + " r=\"2.5\" fill=\"" + std::string(color(i)) +
                        "\"/>\n";
            } else if (last > first) {
                draw_segment(points, first, last, color(i));
            }
            first = last + 1;
        }
    }

    /// A line through points [first, last). Of neighbours in one half of a pixel's column only the lowest and
    /// the highest are drawn: nothing else would show, and a long run's file stays small.
    void draw_segment(const std::vector<CurvePoint>& points, std::size_t first, std::size_t last,
                      std::string_view stroke) {
        svg_ += "<polyline fill=\"none\" stroke=\"" + std::string(stroke) +
                "\" stroke-width=\"1.8\" stroke-linejoin=\"round\" points=\"";
        while (first < last) {
            auto half_pixel = [&](std::size_t at) { return std::floor(2 * column(points[at].x)); };
            std::size_t low = first, high = first, next = first;
            for (; next < last && half_pixel(next) == half_pixel(first); ++next) {
                if (points[next].y < points[low].y) low = next;
                if (points[next].y > points[high].y) high = next;
            }
            for (std::size_t at : {std::min(low, high), std::max(low, high)}) {
                svg_ += pixels(column(points[at].x)) + ',' + pixels(row(points[at].y)) + ' ';
                if (low == high) break;
            }
            first = next;
        }
        svg_.back() = '"';
        svg_ += "/>\n";
    }

    void draw_legend() {
        for (std::size_t i = 0; i < plot_.series.size(); ++i) {
            double y = top + 10 + 20 * static_cast<double>(i);
            draw_text(right - 34, y + 4.5, plot_.series[i].name, "text-anchor=\"end\"");
            svg_ += "<line" + attribute("x1", right - 26) + attribute("y1", y) + attribute("x2", right - 2) +
                    attribute("y2", y) + " stroke-width=\"2.5\" stroke=\"" + std::string(color(i)) + "\"/>\n";
        }
    }

    const CurvePlot& plot_;
    CurveAxis x_;
    CurveAxis y_;
    std::string svg_;
};

}  // namespace detail

/// The plot as an SVG image of 800 by 480 pixels: valid XML, no scripts, nothing fetched.
inline std::string svg_of(const CurvePlot& plot) { return detail::CurveDrawing(plot).draw(); }

/// Writes the plot as an SVG file, whole or not at all. Throws FileError.
inline void write_svg(const std::string& path, const CurvePlot& plot) { write_file(path, svg_of(plot)); }

}  // namespace tenon
