#pragma once

#include <limits>
#include <string>

#include <tenon/op/experts/route_options.hpp>
#include <tenon/op/operation.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// The choice of the experts that a token is sent to, by its scores (Shazeer et al. 2017, "Outrageously large
/// neural networks").
struct Route {};

/// What kernels of Route are told.
struct RouteProblem {
    static constexpr int most_experts = 2048, most_groups = 32;

    std::int64_t tokens;
    int experts;
    RouteOptions options;

    TENON_HOST_DEVICE int group_size() const { return experts / options.groups; }
};

/// A candidate for a choice; of equal ones the first is better, and what is not a number is worst.
template <class C>
struct Candidate {
    static constexpr C least = -std::numeric_limits<C>::infinity();

    C key = least;
    int id = 0x7fffffff;

    Candidate() = default;
    TENON_HOST_DEVICE Candidate(C value, int number) : key(value == value ? value : least), id(number) {}

    TENON_HOST_DEVICE bool is_better_than(const Candidate& other) const {
        return key > other.key || (key == other.key && id < other.id);
    }
};

/// What a token's weights are divided by, of the sum of its scores: never zero.
template <class C>
TENON_HOST_DEVICE C route_divisor(C sum) {
    return sum + static_cast<C>(1e-20);
}

namespace mismatch {
/// route(scores): the scores are no [tokens, experts].
template <class Scores>
struct route_scores_are_not_a_matrix;
}  // namespace mismatch

/// The experts [tokens, k] that tokens are sent to, from 0 on, the best first, and their weights [tokens, k].
template <class Experts, class Weights>
struct Routed {
    Experts experts;
    Weights weights;
};

namespace detail {

inline void require_route(const Extents& scores, const RouteOptions& options) {
    const auto fail = [](const std::string& expected, int value) {
        throw ShapeError("route: expected " + expected + ", got " + std::to_string(value));
    };
    const int experts = scores[1];
    if (experts < 1 || experts > RouteProblem::most_experts)
        fail("from 1 to " + std::to_string(RouteProblem::most_experts) + " experts", experts);
    if (options.groups < 1 || options.groups > RouteProblem::most_groups || experts % options.groups != 0)
        fail("a number of groups, at most " + std::to_string(RouteProblem::most_groups) + ", that divides " +
                 std::to_string(experts) + " experts",
             options.groups);
    if (options.chosen_groups < 1 || options.chosen_groups > options.groups)
        fail("from 1 to " + std::to_string(options.groups) + " chosen groups", options.chosen_groups);
    const int candidates = experts / options.groups * options.chosen_groups;
    if (options.experts_per_token < 1 || options.experts_per_token > candidates)
        fail("from 1 to " + std::to_string(candidates) + " experts for a token", options.experts_per_token);
}

template <class Device, class T>
struct RouteNode : Node {
    Saved<T> scores;
    Storage experts;
    RouteProblem problem;

    void backward() {
        if (!scores.slot) return;
        Kernel<Route, Device>::backward(problem, scores.view.data,
                                        static_cast<const std::int32_t*>(experts.data()),
                                        upstream_of<T, Device>(*this), contribute<T, Device>(*scores.slot));
    }
};

template <TensorLike Scores>
auto route(const Scores& scores, const RouteOptions& options, const typename Scores::value_type* bias) {
    using T = typename Scores::value_type;
    using D = typename Scores::device_type;
    static_assert(std::same_as<T, ComputeOf<T>>, "route takes scores in f32 or f64");
    static_assert(Scores::is_packed, "route takes packed scores: pass contiguous(scores)");
    require_route(scores.extents(), options);
    const RouteProblem problem{scores.extents()[0], scores.extents()[1], options};
    const int k = options.experts_per_token;
    using S = ShapeOf<Resized<typename Scores::shape_type, 1, dyn_code>>;
    auto experts = Tensor<std::int32_t, S, D>::with_extents(Extents(scores.extents()[0], k));
    auto weights = Tensor<T, S, D>::with_extents(Extents(scores.extents()[0], k));
    Kernel<Route, D>::forward(problem, scores.data(), bias, experts.data(), weights.data());
    if constexpr (Scores::is_tracked) {
        auto tracked = track<RouteNode<D, T>>(weights, save(scores), experts.storage(), problem);
        return Routed<decltype(experts), decltype(tracked)>{experts, tracked};
    } else {
        return Routed<decltype(experts), decltype(weights)>{experts, weights};
    }
}

}  // namespace detail

/// The experts with the greatest scores [tokens, experts] of each token, of equal ones the first, and their
/// scores as weights. Throws ShapeError where options and the number of experts do not fit together.
template <Argument Scores>
    requires(ShapeOfArgument<Scores>::rank == 2)
auto route(Scores&& scores, const RouteOptions& options) {
    return detail::route(evaluate(std::forward<Scores>(scores)), options, nullptr);
}
/// The same, chosen by score plus a bias [experts], which the weights are without (Wang et al. 2024,
/// "Auxiliary-loss-free load balancing").
template <Argument Scores, TensorLike Bias>
    requires(ShapeOfArgument<Scores>::rank == 2)
auto route(Scores&& given, const RouteOptions& options, const Bias& bias) {
    const auto scores = evaluate(std::forward<Scores>(given));
    static_assert(std::same_as<typename Bias::value_type, typename decltype(scores)::value_type> &&
                      Bias::is_packed && Bias::rank == 1,
                  "route takes a packed bias [experts] of the scores' type");
    if (bias.extents()[0] != scores.extents()[1])
        throw ShapeError("route: expected a bias of " + std::to_string(scores.extents()[1]) +
                         " experts, got " + std::to_string(bias.extents()[0]));
    return detail::route(scores, options, bias.data());
}
template <Argument Scores, class... Bias>
    requires(ShapeOfArgument<Scores>::rank != 2)
mismatch::route_scores_are_not_a_matrix<ShapeOfArgument<Scores>> route(Scores&&, const RouteOptions&,
                                                                       const Bias&...);
template <class Scores, class... Bias>
    requires NamedExpression<Scores> NamedExpressionError<Route, Scores> route(Scores&&, const RouteOptions&,
                                                                               const Bias&...);

}  // namespace tenon
