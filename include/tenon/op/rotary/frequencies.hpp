#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <tenon/core/error.hpp>

namespace tenon {

/// How rotary frequencies are changed for sequences longer than those that a model was first trained on.
enum class RotaryScalingKind {
    none,
    linear,        ///< positions are divided by the factor (Chen et al. 2023)
    dynamic_ntk,   ///< the base grows with the sequence, once it is longer (bloc97, emozilla 2023)
    yarn,          ///< low frequencies are divided by the factor, high ones stay (Peng et al. 2023)
    long_factors,  ///< each frequency has divisors, for short and for long sequences (Ding et al. 2024)
    llama3,        ///< as YaRN, with wavelengths for bounds (Llama 3.1)
};

/// The numbers of that. Those of other kinds are ignored.
struct RotaryScaling {
    static constexpr int most_pairs = 128;  ///< of elements, with divisors of their own

    RotaryScalingKind kind = RotaryScalingKind::none;
    double factor = 1;
    double original_context = 0;  ///< the length of sequences that a model was first trained on
    double low_factor = 1;        ///< llama3: original_context over the longest wavelength that stays…
    double high_factor = 4;       ///< …changes in part, and over the longest that stays
    double fast_turns = 32;       ///< yarn: in original_context, of the lowest frequency that stays
    double slow_turns = 1;        ///< yarn: of the highest that is divided by all of the factor
    bool whole_bounds = true;     ///< yarn: bounds between frequencies are rounded outwards
    double amplitude = 0;         ///< of cosines and sines; 0: the kind's own
    double scale = 0, scale_of_all = 0;  ///< yarn: if both are given, of its own amplitude
    double short_divisors[most_pairs] = {}, long_divisors[most_pairs] = {};

    /// How much longer sequences raise what is multiplied with them, by YaRN.
    double yarn_amplitude(double scale_of) const {
        return factor > 1 ? 0.1 * scale_of * std::log(factor) + 1 : 1;
    }
    /// A factor of scores that is not in the amplitude of cosines and sines: that of elements which are not
    /// turned (DeepSeek-AI 2024, "DeepSeek-V2").
    double score_factor() const {
        const double each =
            kind == RotaryScalingKind::none || scale_of_all == 0 ? 1 : yarn_amplitude(scale_of_all);
        return each * each;
    }

    friend constexpr bool operator==(const RotaryScaling&, const RotaryScaling&) = default;
};

/// The angles by which positions turn the pairs of a head: base^(-2 i / width) for each step, scaled.
class RotaryFrequencies {
public:
    /// `width`: of a head's elements, those that are turned. Throws ShapeError where numbers are out of
    /// range.
    RotaryFrequencies(double base, int width, const RotaryScaling& scaling = {})
        : base_(base), width_(width), scaling_(scaling) {
        const auto require = [](bool fits, const char* what, double value) {
            if (!fits)
                throw ShapeError(std::string("rotary: expected ") + what + ", got " + std::to_string(value));
        };
        require(base > 0 && base < 1e300, "a positive base", base);
        if (scaling.kind == RotaryScalingKind::none) return;
        require(scaling.factor > 0 && scaling.factor < 1e9, "a positive scaling factor", scaling.factor);
        require(scaling.amplitude >= 0 && scaling.amplitude < 1e9, "an amplitude from 0 on",
                scaling.amplitude);
        if (scaling.kind == RotaryScalingKind::linear) return;
        require(scaling.original_context >= 1 && scaling.original_context < 0x80000000p0,
                "an original context from 1 on", scaling.original_context);
        if (scaling.kind == RotaryScalingKind::dynamic_ntk)
            require(width > 2 && scaling.factor >= 1, "a dynamic factor from 1 on, and a width above 2",
                    scaling.factor);
        if (scaling.kind == RotaryScalingKind::llama3)
            require(scaling.low_factor > 0 && scaling.low_factor < scaling.high_factor,
                    "a low frequencies' factor between 0 and the high ones'", scaling.low_factor);
        if (scaling.kind == RotaryScalingKind::yarn)
            require(scaling.slow_turns > 0 && scaling.slow_turns < scaling.fast_turns && base != 1,
                    "slow turns between 0 and the fast ones", scaling.slow_turns);
        require(amplitude() > 0 && amplitude() < 1e9, "a positive amplitude", amplitude());
        if (scaling.kind != RotaryScalingKind::long_factors) return;
        require(pairs() <= RotaryScaling::most_pairs, "at most 128 pairs with divisors", pairs());
        for (int i = 0; i < pairs(); ++i)
            for (const double divisor : {scaling.short_divisors[i], scaling.long_divisors[i]})
                require(divisor > 0 && divisor < 1e30, "a positive divisor of each frequency", divisor);
    }

    int pairs() const { return (width_ + 1) / 2; }

    /// Whether sequences of other lengths are turned otherwise; those up to original_context are not.
    bool depend_on_length() const {
        return scaling_.kind == RotaryScalingKind::dynamic_ntk ||
               scaling_.kind == RotaryScalingKind::long_factors;
    }
    const RotaryScaling& scaling() const { return scaling_; }

    /// Radians a position, of each pair, in a sequence of so many tokens.
    std::vector<double> in(int length) const {
        std::vector<double> result(static_cast<std::size_t>(pairs()));
        for (int i = 0; i < pairs(); ++i) result[static_cast<std::size_t>(i)] = of_pair(i, length);
        return result;
    }

    /// A factor of cosines and sines.
    double amplitude() const {
        const RotaryScaling& s = scaling_;
        if (s.amplitude > 0) return s.amplitude;
        if (s.kind == RotaryScalingKind::yarn)
            return s.scale != 0 && s.scale_of_all != 0
                       ? s.yarn_amplitude(s.scale) / s.yarn_amplitude(s.scale_of_all)
                       : s.yarn_amplitude(1);
        if (s.kind == RotaryScalingKind::long_factors && s.factor > 1)
            return std::sqrt(1 + std::log(s.factor) / std::log(s.original_context));
        return 1;
    }

private:
    double of_pair(int i, int length) const {
        const RotaryScaling& s = scaling_;
        const double frequency = std::pow(base_, -2.0 * i / width_);
        switch (s.kind) {
            case RotaryScalingKind::none:
                break;
            case RotaryScalingKind::linear:
                return frequency / s.factor;
            case RotaryScalingKind::dynamic_ntk: {
                const double growth =
                    s.factor * std::max<double>(length, s.original_context) / s.original_context -
                    (s.factor - 1);
                return std::pow(base_ * std::pow(growth, width_ / (width_ - 2.0)), -2.0 * i / width_);
            }
            case RotaryScalingKind::yarn: {
                const double kept = 1 - yarn_ramp(i);
                return frequency / s.factor * (1 - kept) + frequency * kept;
            }
            case RotaryScalingKind::long_factors:
                return frequency / (length > s.original_context ? s.long_divisors : s.short_divisors)[i];
            case RotaryScalingKind::llama3: {
                const double turns = s.original_context * frequency / two_pi;
                const double kept =
                    std::clamp((turns - s.low_factor) / (s.high_factor - s.low_factor), 0.0, 1.0);
                return (1 - kept) * frequency / s.factor + kept * frequency;
            }
        }
        return frequency;
    }

    /// The share of the factor that divides a frequency.
    double yarn_ramp(int i) const {
        // The number of the pair that turns so often in the original context.
        const auto pair_of = [&](double turns) {
            return width_ * std::log(scaling_.original_context / (turns * two_pi)) / (2 * std::log(base_));
        };
        double low = pair_of(scaling_.fast_turns), high = pair_of(scaling_.slow_turns);
        if (scaling_.whole_bounds) low = std::floor(low), high = std::ceil(high);
        low = std::max(low, 0.0), high = std::min(high, width_ - 1.0);
        if (low == high) high += 0.001;  // as published
        return std::clamp((i - low) / (high - low), 0.0, 1.0);
    }

    static constexpr double two_pi = 6.283185307179586476925;

    double base_;
    int width_;
    RotaryScaling scaling_;
};

}  // namespace tenon
