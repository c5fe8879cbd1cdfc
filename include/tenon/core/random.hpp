#pragma once

#include <cstdint>

#include <tenon/core/host_device.hpp>

namespace tenon {

/// Names a run's random numbers: equal seeds give equal runs.
struct Seed {
    std::uint64_t value = 0;
};
constexpr Seed seed(std::uint64_t value) { return {value}; }

/// Counter-based random numbers, Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"):
/// number `index` of stream `stream` is a pure function of both and the seed, the same on every device and for any
/// number of threads.
class Philox {
public:
    struct Block {
        std::uint32_t word[4];
    };

    TENON_HOST_DEVICE constexpr explicit Philox(Seed seed, std::uint64_t stream = 0) : seed_(seed.value), stream_(stream) {}

    /// Four words of 32 random bits.
    TENON_HOST_DEVICE constexpr Block operator()(std::uint64_t index) const {
        Block x{{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                 static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)}};
        std::uint32_t key0 = static_cast<std::uint32_t>(seed_), key1 = static_cast<std::uint32_t>(seed_ >> 32);
        for (int round = 0; round < 10; ++round) {
            const std::uint64_t a = std::uint64_t{0xD2511F53u} * x.word[0], b = std::uint64_t{0xCD9E8D57u} * x.word[2];
            x = {{static_cast<std::uint32_t>(b >> 32) ^ x.word[1] ^ key0, static_cast<std::uint32_t>(b),
                  static_cast<std::uint32_t>(a >> 32) ^ x.word[3] ^ key1, static_cast<std::uint32_t>(a)}};
            key0 += 0x9E3779B9u;
            key1 += 0xBB67AE85u;
        }
        return x;
    }

    /// Uniform in [0, 1), 53 bits.
    TENON_HOST_DEVICE constexpr double uniform(std::uint64_t index) const {
        const Block x = (*this)(index);
        const std::uint64_t bits = (std::uint64_t{x.word[0]} << 32 | x.word[1]) >> 11;
        return static_cast<double>(bits) * 0x1p-53;
    }

    /// Uniform in [0, count), by multiplication; the bias is below count / 2^64.
    TENON_HOST_DEVICE constexpr std::uint64_t below(std::uint64_t count, std::uint64_t index) const {
        const Block x = (*this)(index);
        const std::uint64_t bits = std::uint64_t{x.word[0]} << 32 | x.word[1];
        // The upper half of the 128-bit product, from 32-bit halves.
        const std::uint64_t a = bits >> 32, b = bits & 0xffffffffu, c = count >> 32, d = count & 0xffffffffu;
        const std::uint64_t middle = a * d + (b * d >> 32), other = b * c + (middle & 0xffffffffu);
        return a * c + (middle >> 32) + (other >> 32);
    }

    /// Standard normal, by inversion of its distribution function.
    TENON_HOST_DEVICE double normal(std::uint64_t index) const;

    /// Standard normal under the condition that its absolute value is at most `bound`.
    TENON_HOST_DEVICE double truncated_normal(std::uint64_t index, double bound) const;

private:
    std::uint64_t seed_, stream_;
};

namespace detail {

/// exp and log from products, sums and divisions only, so that all devices agree on every bit. For random numbers:
/// relative error about 1e-15.
TENON_HOST_DEVICE inline double portable_log(double x) {
    int exponent = 0;
    while (x < 0.70710678118654752) x *= 2, --exponent;
    while (x >= 1.4142135623730951) x *= 0.5, ++exponent;
    const double s = (x - 1) / (x + 1), square = s * s;
    double series = 0;
    for (int k = 21; k >= 1; k -= 2) series = __builtin_fma(series, square, 1.0 / k);
    return __builtin_fma(static_cast<double>(exponent), 0.69314718055994531, 2 * s * series);
}

TENON_HOST_DEVICE inline double portable_exp(double x) {
    const double turns = x * 1.4426950408889634;
    int whole = static_cast<int>(turns < 0 ? turns - 0.5 : turns + 0.5);
    const double r = __builtin_fma(-static_cast<double>(whole), 0.69314718055994531, x);
    double series = 1;
    for (int k = 17; k >= 1; --k) series = __builtin_fma(series * r, 1.0 / k, 1.0);
    for (; whole > 0; --whole) series *= 2;
    for (; whole < 0; ++whole) series *= 0.5;
    return series;
}

/// The standard normal's distribution function at x <= 0, by Taylor's series near 0 and Laplace's continued fraction
/// for the tail.
TENON_HOST_DEVICE inline double lower_normal(double x) {
    constexpr double inverse_sqrt_two_pi = 0.39894228040143268;
    const double density = inverse_sqrt_two_pi * portable_exp(-0.5 * x * x);
    if (x > -3) {
        double term = x, sum = x;
        for (int k = 1; k < 40; ++k) {
            term *= x * x / (2 * k + 1);
            sum += term;
        }
        return __builtin_fma(density, sum, 0.5);
    }
    double fraction = 0;
    for (int k = 60; k >= 1; --k) fraction = k / (fraction - x);
    return density / (fraction - x);
}

/// Inverse of the distribution function for 0 < p <= 1/2: a rough start (Abramowitz, Stegun 26.2.23), then Newton's
/// method with the second-order term.
TENON_HOST_DEVICE inline double lower_normal_quantile(double p) {
    const double log_p = portable_log(p);
    double t = 1;
    for (int i = 0; i < 8; ++i) t = 0.5 * (t - 2 * log_p / t);  // sqrt(-2 log p)
    double x = -(t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))));
    for (int i = 0; i < 2; ++i) {
        const double density = 0.39894228040143268 * portable_exp(-0.5 * x * x);
        const double step = (lower_normal(x) - p) / density;
        x -= step / __builtin_fma(0.5 * x, step, 1.0);
    }
    return x;
}

}  // namespace detail

TENON_HOST_DEVICE inline double Philox::normal(std::uint64_t index) const {
    const double p = uniform(index) + 0x1p-54;
    return p <= 0.5 ? detail::lower_normal_quantile(p) : -detail::lower_normal_quantile(1 - p);
}

TENON_HOST_DEVICE inline double Philox::truncated_normal(std::uint64_t index, double bound) const {
    const double below = detail::lower_normal(-bound);
    const double p = below + (uniform(index) + 0x1p-54) * (1 - 2 * below);
    return p <= 0.5 ? detail::lower_normal_quantile(p) : -detail::lower_normal_quantile(1 - p);
}

}  // namespace tenon
