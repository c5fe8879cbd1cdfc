#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include <Eigen/Core>

#include <tenon/core/element.hpp>
#include <tenon/core/math.hpp>
#include <tenon/core/transfer.hpp>

namespace tenon {

/// As many numbers as the widest registers hold, computed with at once. Each operation acts on all lanes. The
/// machine type is Eigen's, so the width follows from the compiler's target flags.
template <std::floating_point T>
class Packet {
public:
    using Scalar = T;
    using Native = typename Eigen::internal::packet_traits<T>::type;
    using Mask = decltype(Native() < Native());

    static constexpr int size = sizeof(Native) / sizeof(T);

    Packet() = default;
    Packet(T value) : native_(Eigen::internal::pset1<Native>(value)) {}
    static Packet wrap(Native native) {
        Packet packet;
        packet.native_ = native;
        return packet;
    }
    Native native() const { return native_; }

    /// Reads `size` numbers; they need not be aligned.
    static Packet load(const T* from) { return wrap(Eigen::internal::ploadu<Native>(from)); }
    void store(T* to) const { Eigen::internal::pstoreu(to, native_); }

    /// The same of numbers of 16 bits, which are exact in 32.
    template <class H>
        requires(is_half<H>&& std::same_as<T, float>)
    static Packet load(const H* from) {
        if constexpr (size == 1) {
            return Packet(static_cast<T>(*from));
        } else if constexpr (std::same_as<H, bf16>) {
            // g++ 12 would widen by halves what the last form says.
#if defined(__AVX512F__)
            const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
            return from_bits(__builtin_bit_cast(Bits, _mm512_maskz_cvtepu16_epi32(0xffff, halves)) << 16);
#elif defined(__AVX2__)
            const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
            return from_bits(__builtin_bit_cast(Bits, _mm256_cvtepu16_epi32(halves)) << 16);
#else
            typedef std::uint16_t Halves __attribute__((vector_size(2 * size)));
            Halves halves;
            std::memcpy(&halves, from, sizeof(halves));
            return from_bits(__builtin_convertvector(halves, Bits) << 16);
#endif
        } else {
#if defined(__AVX512F__)
            return wrap(
                _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#elif defined(__F16C__)
            return wrap(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#else
            T lanes[size];
            for (int i = 0; i < size; ++i) lanes[i] = static_cast<T>(from[i]);
            return load(lanes);
#endif
        }
    }

    /// Reads the first `count` <= size numbers and touches no more; the other lanes are zero.
    static Packet load_partial(const T* from, int count) {
        if (count == size) return load(from);
#if defined(__AVX512F__)
        if constexpr (std::same_as<T, float>) {
            return wrap(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from));
        } else {
            return wrap(_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), from));
        }
#else
        T lanes[size] = {};
        for (int i = 0; i < count; ++i) lanes[i] = from[i];
        return load(lanes);
#endif
    }

    template <class H>
        requires(is_half<H>&& std::same_as<T, float>)
    static Packet load_partial(const H* from, int count) {
        if (count == size) return load(from);
        H lanes[size] = {};
        for (int i = 0; i < count; ++i) lanes[i] = from[i];
        return load(lanes);
    }

    /// Writes the first `count` <= size lanes and touches no more.
    void store_partial(T* to, int count) const {
        if (count == size) return store(to);
#if defined(__AVX512F__)
        if constexpr (std::same_as<T, float>) {
            _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), native_);
        } else {
            _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << count) - 1), native_);
        }
#else
        T lanes[size];
        store(lanes);
        for (int i = 0; i < count; ++i) to[i] = lanes[i];
#endif
    }

    friend Packet operator+(Packet a, Packet b) { return wrap(a.native_ + b.native_); }
    friend Packet operator-(Packet a, Packet b) { return wrap(a.native_ - b.native_); }
    friend Packet operator*(Packet a, Packet b) { return wrap(a.native_ * b.native_); }
    friend Packet operator/(Packet a, Packet b) { return wrap(a.native_ / b.native_); }
    friend Packet operator-(Packet a) { return wrap(-a.native_); }
    Packet& operator+=(Packet b) { return *this = *this + b; }
    Packet& operator-=(Packet b) { return *this = *this - b; }
    Packet& operator*=(Packet b) { return *this = *this * b; }

    friend Mask operator<(Packet a, Packet b) { return a.native_ < b.native_; }
    friend Mask operator<=(Packet a, Packet b) { return a.native_ <= b.native_; }
    friend Mask operator>(Packet a, Packet b) { return a.native_ > b.native_; }
    friend Mask operator>=(Packet a, Packet b) { return a.native_ >= b.native_; }
    friend Mask operator==(Packet a, Packet b) { return a.native_ == b.native_; }
    friend Mask operator!=(Packet a, Packet b) { return a.native_ != b.native_; }

    /// `yes` in the lanes where the condition holds, else `no`.
    friend Packet select(Mask condition, Packet yes, Packet no) {
        return wrap(condition ? yes.native_ : no.native_);
    }

    /// NaN where either is. Of equal ones the first, as that of zeros.
    friend Packet min(Packet a, Packet b) { return smaller(a, b); }
    friend Packet max(Packet a, Packet b) { return greater(a, b); }
    friend Packet abs(Packet a) { return wrap(Eigen::internal::pabs(a.native_)); }

    /// a * b + c, rounded once where the hardware does so at no cost.
    friend Packet fma(Packet a, Packet b, Packet c) {
        return wrap(Eigen::internal::pmadd(a.native_, b.native_, c.native_));
    }

    friend Packet reciprocal(Packet a) { return Packet(T(1)) / a; }
    friend Packet rsqrt(Packet a) { return Packet(T(1)) / sqrt(a); }

    friend Packet sqrt(Packet a) {
        // Eigen's square root approximates and loses infinity. (The masked forms of the instructions keep
        // clear of g++ 12's false warnings about uninitialised values.)
#if defined(__AVX512F__)
        if constexpr (narrow) return wrap(_mm512_maskz_sqrt_ps(0xffff, a.native_));
        if constexpr (!narrow) return wrap(_mm512_maskz_sqrt_pd(0xff, a.native_));
#elif defined(__AVX__)
        if constexpr (narrow) return wrap(_mm256_sqrt_ps(a.native_));
        if constexpr (!narrow) return wrap(_mm256_sqrt_pd(a.native_));
#elif defined(__SSE2__)
        if constexpr (narrow) return wrap(_mm_sqrt_ps(a.native_));
        if constexpr (!narrow) return wrap(_mm_sqrt_pd(a.native_));
#else
        return wrap(Eigen::internal::psqrt(a.native_));
#endif
    }

    /// Zero below the smallest normal number's logarithm, -infinity included; infinity above the largest's.
    friend Packet exp(Packet x) {
        const Reduced reduced = reduce(x);
        const Packet power = shift_exponent(Packet(T(1)) + reduced.expm1, reduced.turns);
        const Packet finite =
            select(x > Packet(log_largest), Packet(std::numeric_limits<T>::infinity()), power);
        return select(x < Packet(log_smallest), Packet(T(0)), finite);
    }

    friend Packet tanh(Packet x) {
        // -u / (2 + u) with u = exp(-2 |x|) - 1, which keeps the relative accuracy of small arguments.
        const Packet twice = greater(abs(x) * Packet(T(-2)), Packet(T(-40)));
        const Reduced reduced = reduce(twice);
        const Packet scale = shift_exponent(Packet(T(1)), reduced.turns);
        const Packet u = fma(scale, reduced.expm1, scale - Packet(T(1)));
        const Packet magnitude = u / (Packet(T(2)) + u);
        const Packet result = select(x < Packet(T(0)), magnitude, -magnitude);
        return select(x == x, result, x);
    }

    friend Packet log(Packet x) {
        // Numbers below the normal ones are scaled up first.
        constexpr int up = mantissa_bits + 1;
        const Mask tiny = x < Packet(std::numeric_limits<T>::min());
        const Packet normal = select(tiny, x * Packet(T(2ll << mantissa_bits)), x);
        // x = 2^n (1 + f) with 1 + f between sqrt(1/2) and sqrt(2).
        const Bits offset = normal.bits() - Packet(T(0.70710678118654752)).bits() + Packet(T(1)).bits();
        const Bits exponent = offset >> Integer(mantissa_bits);
        const Packet whole(T(2ll << (mantissa_bits - 1)));
        const Packet biased = from_bits(exponent | whole.bits()) - whole;
        const Packet n = biased - select(tiny, Packet(T(bias + up)), Packet(T(bias)));
        const Bits one = Packet(T(1)).bits();
        const Packet f = from_bits(normal.bits() - (exponent << Integer(mantissa_bits)) + one) - Packet(T(1));
        // log(1 + f) = 2 artanh(s) = f - s (f - series) with s = f / (2 + f).
        const Packet s = f / (Packet(T(2)) + f), square = s * s;
        constexpr int degree = narrow ? 9 : 21;
        Packet series(T(2) / degree);
        for (int i = degree - 2; i >= 3; i -= 2) series = fma(series, square, Packet(T(2) / T(i)));
        const Packet correction = fma(n, Packet(log2_low), -s * (f - series * square));
        const Packet finite = fma(n, Packet(log2_high), f + correction);
        const Packet infinity(std::numeric_limits<T>::infinity());
        const Packet result = select(x == Packet(T(0)), -infinity, select(x < infinity, finite, x));
        return select(x < Packet(T(0)), Packet(std::numeric_limits<T>::quiet_NaN()), result);
    }

    friend Packet sin(Packet x) {
        return x.each([](T lane) { return std::sin(lane); });
    }

    friend Packet cos(Packet x) {
        return x.each([](T lane) { return std::cos(lane); });
    }

    /// The sum of the lanes, always in the same order.
    T sum() const {
        return fold([](Packet a, Packet b) { return a + b; });
    }

    /// The greatest lane; NaN if one is.
    T max() const { return fold(greater); }

    /// All lanes combined, always in the same order.
    template <class Combine>
    T fold(Combine combine) const {
        return fold_from<size / 2>(*this, combine, Lanes()).first();
    }

    /// The first lane.
    T first() const {
        if constexpr (size == 1)
            return native_;
        else
            return native_[0];
    }

    /// Transposes squares of numbers that lie side by side in `count` <= size packets, a power of two; with
    /// as many packets as lanes there is one square.
    template <int count>
    friend void transpose(Packet (&rows)[count]) {
        if constexpr (count > 1) exchange<count / 2>(rows, Lanes());
    }

    /// Writes `count` lanes, from lane `first` on.
    template <int count>
    void store_lanes(T* to, int first) const {
        std::memcpy(to, reinterpret_cast<const T*>(&native_) + first, count * sizeof(T));
    }

private:
    using Integer = std::conditional_t<sizeof(T) == 4, unsigned, unsigned long long>;
    typedef Integer Bits __attribute__((vector_size(sizeof(Native))));

    static constexpr bool narrow = sizeof(T) == 4;
    static constexpr int mantissa_bits = std::numeric_limits<T>::digits - 1;
    static constexpr int bias = std::numeric_limits<T>::max_exponent - 1;
    static constexpr T log_smallest = narrow ? T(-87.33654) : T(-708.3964185322641);
    static constexpr T log_largest = narrow ? T(88.72283) : T(709.782712893384);
    // log(2) in two parts, the first with so few digits that its product with an exponent is exact.
    static constexpr T log2_high = narrow ? T(0x1.62e4p-1) : T(0x1.62e42fefap-1);
    static constexpr T log2_low = narrow ? T(0x1.7f7d1cf79abcap-20) : T(0x1.cf79abc9e3b39p-40);

    Bits bits() const { return __builtin_bit_cast(Bits, native_); }
    static Packet from_bits(Bits bits) { return wrap(__builtin_bit_cast(Native, bits)); }

    // The instructions return their second operand where a number is NaN, or both are zero. So they see a NaN
    // of `a` as it is; one of `b` is put back. (Masked forms where there are: g++ 12 warns falsely of
    // others.)
    static Packet smaller(Packet a, Packet b) {
#if defined(__AVX512F__)
        if constexpr (narrow)
            return wrap(_mm512_mask_min_ps(b.native_, not_nan(b), b.native_, a.native_));
        else
            return wrap(_mm512_mask_min_pd(b.native_, not_nan(b), b.native_, a.native_));
#elif defined(__AVX__)
        if constexpr (narrow)
            return select(b == b, wrap(_mm256_min_ps(b.native_, a.native_)), b);
        else
            return select(b == b, wrap(_mm256_min_pd(b.native_, a.native_)), b);
#elif defined(__SSE2__)
        if constexpr (narrow)
            return select(b == b, wrap(_mm_min_ps(b.native_, a.native_)), b);
        else
            return select(b == b, wrap(_mm_min_pd(b.native_, a.native_)), b);
#else
        return select(b < a, b, select(b == b, a, b));
#endif
    }

    static Packet greater(Packet a, Packet b) {
#if defined(__AVX512F__)
        if constexpr (narrow)
            return wrap(_mm512_mask_max_ps(b.native_, not_nan(b), b.native_, a.native_));
        else
            return wrap(_mm512_mask_max_pd(b.native_, not_nan(b), b.native_, a.native_));
#elif defined(__AVX__)
        if constexpr (narrow)
            return select(b == b, wrap(_mm256_max_ps(b.native_, a.native_)), b);
        else
            return select(b == b, wrap(_mm256_max_pd(b.native_, a.native_)), b);
#elif defined(__SSE2__)
        if constexpr (narrow)
            return select(b == b, wrap(_mm_max_ps(b.native_, a.native_)), b);
        else
            return select(b == b, wrap(_mm_max_pd(b.native_, a.native_)), b);
#else
        return select(a < b, b, select(b == b, a, b));
#endif
    }

#if defined(__AVX512F__)
    static auto not_nan(Packet a) {
        if constexpr (narrow)
            return _mm512_cmp_ps_mask(a.native_, a.native_, _CMP_ORD_Q);
        else
            return _mm512_cmp_pd_mask(a.native_, a.native_, _CMP_ORD_Q);
    }
#endif

    struct Reduced {
        Packet expm1;  // exp(r) - 1 for x = n log 2 + r, n whole
        Packet turns;  // n, as the low bits of a number that is all integer
    };

    static Reduced reduce(Packet x) {
        // Adding 1.5 * 2^mantissa_bits leaves no fraction, so the sum rounds to a whole number.
        const Packet whole(T(3) * T(1ll << (mantissa_bits - 1)));
        const Packet turns = fma(x, Packet(T(1.4426950408889634)), whole);
        const Packet n = turns - whole;
        const Packet r = fma(n, Packet(-log2_low), fma(n, Packet(-log2_high), x));
        // Taylor's series; |r| <= log(2) / 2 makes it short.
        constexpr int degree = narrow ? 7 : 13;
        Packet series(inverse_factorial(degree));
        for (int i = degree - 1; i >= 2; --i) series = fma(series, r, Packet(inverse_factorial(i)));
        return {fma(series * r, r, r), turns};
    }

    static constexpr T inverse_factorial(int n) {
        double product = 1;
        for (int i = 2; i <= n; ++i) product *= i;
        return static_cast<T>(1 / product);
    }

    /// x * 2^n for a normal x and a normal result: adds n to the bits of the exponent.
    static Packet shift_exponent(Packet x, Packet turns) {
        return from_bits(x.bits() + (turns.bits() << Integer(mantissa_bits)));
    }

    using Lanes = std::make_integer_sequence<int, size>;

    /// Combines the lanes that lie `distance` apart, then half of that, and so on: each ends up with the
    /// whole.
    template <int distance, class Combine, int... lane>
    static Packet fold_from(Packet x, Combine combine, std::integer_sequence<int, lane...> lanes) {
        if constexpr (distance == 0)
            return x;
        else {
            const Native moved = __builtin_shufflevector(x.native_, x.native_, (lane ^ distance)...);
            return fold_from<distance / 2>(combine(x, wrap(moved)), combine, lanes);
        }
    }

    /// Swaps the off-diagonal quarters of each square of 2 `distance` rows and lanes, then goes on within the
    /// quarters.
    template <int distance, int count, int... lane>
    [[gnu::always_inline]] static void exchange(Packet (&rows)[count],
                                                std::integer_sequence<int, lane...> lanes) {
        for (int i = 0; i < count; ++i) {
            if (i & distance) continue;
            const Native a = rows[i].native_, b = rows[i + distance].native_;
            rows[i].native_ =
                __builtin_shufflevector(a, b, (lane & distance ? size + (lane ^ distance) : lane)...);
            rows[i + distance].native_ =
                __builtin_shufflevector(a, b, (lane & distance ? size + lane : lane ^ distance)...);
        }
        if constexpr (distance > 1) exchange<distance / 2>(rows, lanes);
    }

    template <class Function>
    Packet each(Function function) const {
        T lanes[size];
        store(lanes);
        for (T& lane : lanes) lane = function(lane);
        return load(lanes);
    }

    Native native_;
};

template <std::floating_point C>
struct Transfer<Packet<C>> {
    static Packet<C> load(const C* from) { return Packet<C>::load(from); }
    static void store(Packet<C> value, C* to) { value.store(to); }

    template <class T>
        requires(is_half<T>&& std::same_as<C, float>)
    static Packet<C> load(const T* from) { return Packet<C>::load(from); }

    template <class T>
    static Packet<C> load(const T* from) {
        C lanes[Packet<C>::size];
        for (int i = 0; i < Packet<C>::size; ++i) lanes[i] = Transfer<C>::load(from + i);
        return Packet<C>::load(lanes);
    }
    template <class T>
    static void store(Packet<C> value, T* to) {
        C lanes[Packet<C>::size];
        value.store(lanes);
        for (int i = 0; i < Packet<C>::size; ++i) Transfer<C>::store(lanes[i], to + i);
    }
};

}  // namespace tenon
