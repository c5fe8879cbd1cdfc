#pragma once

#include <limits>

#include <tenon/core/host_device.hpp>
#include <tenon/core/math.hpp>
#include <tenon/core/normal.hpp>

/// The functions that fuse. Each states its value and its derivative once; the CPU's loop, the GPU's kernel
/// and the gradient of any expression follow from these. V is a number or a packet of numbers.
namespace tenon::functor {

/// The derivatives of a function of two arguments.
template <class V>
struct Partials {
    V first, second;
};

/// Which values the derivative of a function depends on. A function that says nothing depends on all; what
/// nothing depends on is not kept for the gradient.
enum class DerivativeUses {
    nothing,
    other_argument,  ///< that by the first argument on the second, and the reverse
    everything,
};

template <class F>
inline constexpr DerivativeUses derivative_uses = DerivativeUses::everything;
template <class F>
    requires requires { F::derivative_uses; }
inline constexpr DerivativeUses derivative_uses<F> = F::derivative_uses;

struct Add {
    static constexpr DerivativeUses derivative_uses = DerivativeUses::nothing;
    template <class V>
    TENON_HOST_DEVICE static V value(V a, V b) {
        return a + b;
    }
    template <class V>
    TENON_HOST_DEVICE static Partials<V> derivative(V, V, V) {
        return {V(1), V(1)};
    }
};

struct Subtract {
    static constexpr DerivativeUses derivative_uses = DerivativeUses::nothing;
    template <class V>
    TENON_HOST_DEVICE static V value(V a, V b) {
        return a - b;
    }
    template <class V>
    TENON_HOST_DEVICE static Partials<V> derivative(V, V, V) {
        return {V(1), V(-1)};
    }
};

struct Multiply {
    static constexpr DerivativeUses derivative_uses = DerivativeUses::other_argument;
    template <class V>
    TENON_HOST_DEVICE static V value(V a, V b) {
        return a * b;
    }
    template <class V>
    TENON_HOST_DEVICE static Partials<V> derivative(V a, V b, V) {
        return {b, a};
    }
};

struct Divide {
    template <class V>
    TENON_HOST_DEVICE static V value(V a, V b) {
        return a / b;
    }
    template <class V>
    TENON_HOST_DEVICE static Partials<V> derivative(V, V b, V y) {
        const V inverse = reciprocal(b);
        return {inverse, -y * inverse};
    }
};

/// The greater; where they are equal the gradient is halved between them.
struct Maximum {
    template <class V>
    TENON_HOST_DEVICE static V value(V a, V b) {
        return max(a, b);
    }
    template <class V>
    TENON_HOST_DEVICE static Partials<V> derivative(V a, V b, V) {
        const V first = select(a > b, V(1), select(a == b, V(0.5f), V(0)));
        return {first, V(1) - first};
    }
};

/// The lesser; where they are equal the gradient is halved between them.
struct Minimum {
    template <class V>
    TENON_HOST_DEVICE static V value(V a, V b) {
        return min(a, b);
    }
    template <class V>
    TENON_HOST_DEVICE static Partials<V> derivative(V a, V b, V) {
        const V first = select(a < b, V(1), select(a == b, V(0.5f), V(0)));
        return {first, V(1) - first};
    }
};

struct Identity {
    static constexpr DerivativeUses derivative_uses = DerivativeUses::nothing;
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return x;
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V, V) {
        return V(1);
    }
};

struct Negate {
    static constexpr DerivativeUses derivative_uses = DerivativeUses::nothing;
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return -x;
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V, V) {
        return V(-1);
    }
};

struct Exponential {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return exp(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V, V y) {
        return y;
    }
};

struct Logarithm {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return log(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V) {
        return reciprocal(x);
    }
};

struct SquareRoot {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return sqrt(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V, V y) {
        return V(0.5f) / y;
    }
};

struct ReciprocalSquareRoot {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return rsqrt(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V, V y) {
        return V(-0.5f) * y * y * y;
    }
};

struct Reciprocal {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return reciprocal(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V, V y) {
        return -y * y;
    }
};

struct Square {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return x * x;
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V) {
        return x + x;
    }
};

struct Absolute {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return abs(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V) {
        return select(x > V(0), V(1), select(x < V(0), V(-1), V(0)));
    }
};

struct HyperbolicTangent {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return tanh(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V, V y) {
        return V(1) - y * y;
    }
};

struct Sine {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return sin(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V) {
        return cos(x);
    }
};

struct Cosine {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return cos(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V) {
        return -sin(x);
    }
};

struct Sigmoid {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return reciprocal(V(1) + exp(-x));
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V, V y) {
        return y * (V(1) - y);
    }
};

/// x sigmoid(x) (Elfwing et al. 2017).
struct Silu {
    // Far out the other factor is exactly 0, and infinity must not meet it.
    static constexpr float far = 1000;

    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return max(x, V(-far)) * Sigmoid::value(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V y) {
        const V gate = Sigmoid::value(x);
        return gate + min(y, V(far)) * (V(1) - gate);
    }
};

struct Relu {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return max(x, V(0));
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V) {
        return select(x > V(0), V(1), V(0));
    }
};

/// max(x, 0)² (So et al. 2021, "Primer").
struct SquaredRelu {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        const V positive = max(x, V(0));
        return positive * positive;
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V) {
        const V positive = max(x, V(0));
        return positive + positive;
    }
};

/// log(1 + exp(x)).
struct Softplus {
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        // log(1 + u) = log(w) u / (w - 1), where w = 1 + u as it is rounded.
        const V u = exp(-abs(x)), w = V(1) + u;
        const V rounded = w - V(1);
        const V small = select(rounded == V(0), u, log(w) * u / select(rounded == V(0), V(1), rounded));
        return max(x, V(0)) + small;
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V) {
        return Sigmoid::value(x);
    }
};

/// x Φ(x), Φ the distribution function of the standard normal (Hendrycks, Gimpel 2016).
struct Gelu {
    // Beyond, the tail is exactly 0.
    static constexpr float far = 40;

    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        const V z = min(abs(x), V(far));
        return max(x, V(0)) - z * normal_tail(z).probability;
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V) {
        const V z = min(abs(x), V(far));
        const NormalTail<V> tail = normal_tail(z);
        const V below = tail.probability - z * tail.density;  // at -z
        return select(x > V(0), V(1) - below, below);
    }
};

/// x (1 + tanh(u)) / 2 with u = sqrt(2 / π) (x + 0.044715 x³): GELU as GPT-2 has it (Hendrycks, Gimpel 2016).
/// (1 + tanh(u)) / 2 is the logistic function of 2 u.
struct GeluTanh {
    // Beyond, the gate is exactly 0 or 1.
    static constexpr float far = 40;

    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        const V near = clamp(x);
        return max(x, V(-far)) * gate(near, near * near);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V) {
        const V near = clamp(x), square = near * near, open = gate(near, square);
        const V slope = fma(square, number<V>(3 * cubic), number<V>(linear));  // of 2 u
        return fma(near * slope, open * (V(1) - open), open);
    }

private:
    static constexpr double linear = 1.5957691216057307117, cubic = 0.044715 * linear;  // of 2 u

    template <class V>
    TENON_HOST_DEVICE static V number(double x) {
        return V(static_cast<typename detail::ScalarOf<V>::type>(x));
    }
    template <class V>
    TENON_HOST_DEVICE static V clamp(V x) {
        return min(max(x, V(-far)), V(far));
    }
    template <class V>
    TENON_HOST_DEVICE static V gate(V x, V square) {
        return Sigmoid::value(x * fma(square, number<V>(cubic), number<V>(linear)));
    }
};

}  // namespace tenon::functor

/// The reductions: how two partial results combine, and what remains to be done with the whole.
namespace tenon::reduction {

struct Sum {
    template <class V>
    TENON_HOST_DEVICE static V combine(V a, V b) {
        return a + b;
    }
    template <class C>
    TENON_HOST_DEVICE static C identity() {
        return C(0);
    }
    template <class C>
    TENON_HOST_DEVICE static C finish(C total, C) {
        return total;
    }
    /// The gradient of each element is this factor times that of the result.
    template <class C>
    TENON_HOST_DEVICE static C share(C) {
        return C(1);
    }
    static constexpr bool selects = false;
};

struct Mean {
    template <class V>
    TENON_HOST_DEVICE static V combine(V a, V b) {
        return a + b;
    }
    template <class C>
    TENON_HOST_DEVICE static C identity() {
        return C(0);
    }
    template <class C>
    TENON_HOST_DEVICE static C finish(C total, C count) {
        return total / count;
    }
    template <class C>
    TENON_HOST_DEVICE static C share(C count) {
        return C(1) / count;
    }
    static constexpr bool selects = false;
};

/// The gradient goes to the greatest elements, in equal parts.
struct Maximum {
    template <class V>
    TENON_HOST_DEVICE static V combine(V a, V b) {
        return max(a, b);
    }
    template <class C>
    TENON_HOST_DEVICE static C identity() {
        return C(-__builtin_huge_val());
    }
    template <class C>
    TENON_HOST_DEVICE static C finish(C total, C) {
        return total;
    }
    template <class C>
    TENON_HOST_DEVICE static C share(C) {
        return C(1);
    }
    static constexpr bool selects = true;
};

struct Minimum {
    template <class V>
    TENON_HOST_DEVICE static V combine(V a, V b) {
        return min(a, b);
    }
    template <class C>
    TENON_HOST_DEVICE static C identity() {
        return C(__builtin_huge_val());
    }
    template <class C>
    TENON_HOST_DEVICE static C finish(C total, C) {
        return total;
    }
    template <class C>
    TENON_HOST_DEVICE static C share(C) {
        return C(1);
    }
    static constexpr bool selects = true;
};

}  // namespace tenon::reduction
