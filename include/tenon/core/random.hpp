#pragma once

#include <cstdint>

#include <tenon/core/host_device.hpp>

namespace tenon {

/// Names a run's random numbers: equal seeds give equal runs.
struct Seed {
    std::uint64_t value = 0;
};
constexpr Seed seed(std::uint64_t value) { return {value}; }

namespace detail {

/// The two keys of a round of Philox, which are its seed before the first.
struct PhiloxKeys {
    std::uint32_t low, high;

    TENON_HOST_DEVICE constexpr explicit PhiloxKeys(std::uint64_t seed)
        : low(static_cast<std::uint32_t>(seed)), high(static_cast<std::uint32_t>(seed >> 32)) {}
    TENON_HOST_DEVICE constexpr void advance() {
        low += 0x9E3779B9u;
        high += 0xBB67AE85u;
    }
};

inline constexpr int philox_rounds = 10;

/// One round of Philox, on the four words of a block.
TENON_HOST_DEVICE constexpr void philox_round(std::uint32_t& word0, std::uint32_t& word1,
                                              std::uint32_t& word2, std::uint32_t& word3,
                                              const PhiloxKeys& keys) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * word0, b = std::uint64_t{0xCD9E8D57u} * word2;
    word0 = static_cast<std::uint32_t>(b >> 32) ^ word1 ^ keys.low;
    word1 = static_cast<std::uint32_t>(b);
    word2 = static_cast<std::uint32_t>(a >> 32) ^ word3 ^ keys.high;
    word3 = static_cast<std::uint32_t>(a);
}

}  // namespace detail

/// Counter-based random numbers, Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1,
/// 2, 3"): number `index` of stream `stream` is a pure function of both and the seed, the same on every
/// device and for any number of threads.
class Philox {
public:
    struct Block {
        std::uint32_t word[4];
    };

    TENON_HOST_DEVICE constexpr explicit Philox(Seed seed, std::uint64_t stream = 0)
        : seed_(seed.value), stream_(stream) {}

    /// Four words of 32 random bits.
    TENON_HOST_DEVICE constexpr Block operator()(std::uint64_t index) const {
        Block x{{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                 static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)}};
        detail::PhiloxKeys keys(seed_);
        for (int round = 0; round < detail::philox_rounds; ++round, keys.advance())
            detail::philox_round(x.word[0], x.word[1], x.word[2], x.word[3], keys);
        return x;
    }

    /// Uniform in [0, 1), 53 bits.
    TENON_HOST_DEVICE constexpr double uniform(std::uint64_t index) const {
        const Block x = (*this)(index);
        return uniform_of(x.word[0], x.word[1]);
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

    /// Standard normal under the condition that its absolute value is at most 3.
    TENON_HOST_DEVICE double truncated_normal(std::uint64_t index) const;

    /// What the numbers above are of the first two words of their block.
    TENON_HOST_DEVICE static constexpr double uniform_of(std::uint32_t word0, std::uint32_t word1) {
        const std::uint64_t bits = (std::uint64_t{word0} << 32 | word1) >> 11;
        return static_cast<double>(bits) * 0x1p-53;
    }
    TENON_HOST_DEVICE static double normal_of(std::uint32_t word0, std::uint32_t word1);
    TENON_HOST_DEVICE static double truncated_normal_of(std::uint32_t word0, std::uint32_t word1);

private:
    std::uint64_t seed_, stream_;
};

namespace detail {

template <int Degree>
struct Polynomial {
    double coefficient[Degree + 1];

    TENON_HOST_DEVICE constexpr double operator()(double x) const {
        double value = coefficient[Degree];
        for (int i = Degree - 1; i >= 0; --i) value = __builtin_fma(value, x, coefficient[i]);
        return value;
    }
};

/// The logarithm of 0 < x < 1 from sums and products with explicit fma, so that all devices agree on every
/// bit. For random numbers: relative error about 1e-15.
TENON_HOST_DEVICE inline double portable_log(double x) {
    // x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh(s) with s = (m - 1) / (m + 1).
    const std::uint64_t bits = __builtin_bit_cast(std::uint64_t, x);
    int exponent = static_cast<int>(bits >> 52) - 1022;
    double m = __builtin_bit_cast(double, (bits & 0xfffffffffffffu) | 0x3fe0000000000000u);
    if (m < 0.70710678118654752) {
        m *= 2;
        --exponent;
    }
    const double s = (m - 1) / (m + 1), square = s * s;
    double series = 0;
    for (int k = 21; k >= 1; k -= 2) series = __builtin_fma(series, square, 1.0 / k);
    return __builtin_fma(static_cast<double>(exponent), 0.69314718055994531, 2 * s * series);
}

/// The quantile function of the standard normal for 0 < p < 1: rational approximations of relative accuracy
/// 1e-16 (Wichura 1988, algorithm AS 241).
TENON_HOST_DEVICE inline double normal_quantile(double p) {
    const double q = p - 0.5;
    if (q >= -0.425 && q <= 0.425) {
        const double r = __builtin_fma(-q, q, 0.180625);
        constexpr Polynomial<7> above{{3.3871328727963666080e0, 1.3314166789178437745e2,
                                       1.9715909503065514427e3, 1.3731693765509461125e4,
                                       4.5921953931549871457e4, 6.7265770927008700853e4,
                                       3.3430575583588128105e4, 2.5090809287301226727e3}};
        constexpr Polynomial<7> below{{1.0, 4.2313330701600911252e1, 6.8718700749205790830e2,
                                       5.3941960214247511077e3, 2.1213794301586595867e4,
                                       3.9307895800092710610e4, 2.8729085735721942674e4,
                                       5.2264952788528545610e3}};
        return q * above(r) / below(r);
    }
    const double r = __builtin_sqrt(-portable_log(q < 0 ? p : 1 - p));
    double tail = 0;
    if (r <= 5) {
        constexpr Polynomial<7> above{{1.42343711074968357734e0, 4.63033784615654529590e0,
                                       5.76949722146069140550e0, 3.64784832476320460504e0,
                                       1.27045825245236838258e0, 2.41780725177450611770e-1,
                                       2.27238449892691845833e-2, 7.74545014278341407640e-4}};
        constexpr Polynomial<7> below{{1.0, 2.05319162663775882187e0, 1.67638483018380384940e0,
                                       6.89767334985100004550e-1, 1.48103976427480074590e-1,
                                       1.51986665636164571966e-2, 5.47593808499534494600e-4,
                                       1.05075007164441684324e-9}};
        tail = above(r - 1.6) / below(r - 1.6);
    } else {
        constexpr Polynomial<7> above{{6.65790464350110377720e0, 5.46378491116411436990e0,
                                       1.78482653991729133580e0, 2.96560571828504891230e-1,
                                       2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                       2.71155556874348757815e-5, 2.01033439929228813265e-7}};
        constexpr Polynomial<7> below{{1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1,
                                       1.48753612908506148525e-2, 7.86869131145613259100e-4,
                                       1.84631831751005468180e-5, 1.42151175831644588870e-7,
                                       2.04426310338993978564e-15}};
        tail = above(r - 5) / below(r - 5);
    }
    return q < 0 ? -tail : tail;
}

}  // namespace detail

TENON_HOST_DEVICE inline double Philox::normal_of(std::uint32_t word0, std::uint32_t word1) {
    return detail::normal_quantile(uniform_of(word0, word1) + 0x1p-54);
}
TENON_HOST_DEVICE inline double Philox::normal(std::uint64_t index) const {
    const Block x = (*this)(index);
    return normal_of(x.word[0], x.word[1]);
}

TENON_HOST_DEVICE inline double Philox::truncated_normal_of(std::uint32_t word0, std::uint32_t word1) {
    constexpr double below = 0.0013498980316300945;  // the probability of less than -3
    return detail::normal_quantile(__builtin_fma(uniform_of(word0, word1) + 0x1p-54, 1 - 2 * below, below));
}
TENON_HOST_DEVICE inline double Philox::truncated_normal(std::uint64_t index) const {
    const Block x = (*this)(index);
    return truncated_normal_of(x.word[0], x.word[1]);
}

}  // namespace tenon
