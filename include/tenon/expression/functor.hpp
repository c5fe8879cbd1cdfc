#pragma once

#include <limits>

#include <tenon/core/host_device.hpp>
#include <tenon/core/math.hpp>

/// The functions that fuse. Each states its value and its derivative once; the CPU's loop, the GPU's kernel
/// and the gradient of any expression follow from these. V is a number or a packet of numbers.
namespace tenon::functor {

/// The derivatives of a function of two arguments.
template <class V>
struct Partials {
    V first, second;
};

struct Add {
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
    template <class V>
    TENON_HOST_DEVICE static V value(V x) {
        return x * Sigmoid::value(x);
    }
    template <class V>
    TENON_HOST_DEVICE static V derivative(V x, V y) {
        const V gate = Sigmoid::value(x);
        return gate + y * (V(1) - gate);
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
        return -std::numeric_limits<C>::infinity();
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
        return std::numeric_limits<C>::infinity();
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
