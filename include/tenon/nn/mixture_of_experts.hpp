#pragma once

#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include <tenon/nn/adapter_slot.hpp>
#include <tenon/nn/feed_forward.hpp>
#include <tenon/nn/feed_forward_of.hpp>
#include <tenon/nn/routing_record.hpp>
#include <tenon/op/experts/dispatch.hpp>
#include <tenon/op/experts/route.hpp>
#include <tenon/op/experts/rows.hpp>
#include <tenon/op/grouped_matmul/grouped_matmul.hpp>
#include <tenon/op/softmax/softmax.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// A feed-forward layer of many, of which each token takes a few (Shazeer et al. 2017, "Outrageously large
/// neural networks"): the sum over the chosen experts e of weight_e · down_e(f(gate_e x) · up_e x). Experts'
/// matrices are in one parameter each; a product is one of groups. Features (see DefaultFeatures) say how a
/// router's logits become scores, and whether there is an expert that all tokens take.
template <class Setting, auto Width, auto Hidden, auto Experts, class Features = DefaultFeatures>
class MixtureOfExperts {
    static constexpr FeedForwardKind kind = Features::feed_forward;
    static_assert(is_gated(kind), "experts have gates");
    template <class S>
    using Weight = typename Setting::template Weight<S>;
    template <class S>
    using WideParameter = typename Setting::template NormParameter<S>;
    using Device = typename Setting::Device;
    using Compute = ComputeOf<typename Setting::Value>;
    static constexpr auto both = [] {
        if constexpr (is_exact(extent_code(Hidden)))
            return 2 * Hidden;
        else
            return dyn;
    }();
    static constexpr MatmulOptions right{.transpose_right = true};

public:
    explicit MixtureOfExperts(const MixtureOptions& options, int width = bound_of(extent_code(Width)),
                              int hidden = bound_of(extent_code(Hidden)),
                              int experts = bound_of(extent_code(Experts)), int shared_hidden = 0)
        : router(Role::matrix, Extents(experts, width)),
          router_bias(Role::bias, Extents(experts)),
          gate_up(Role::matrix, Extents(experts, 2 * hidden, width)),
          down(Role::matrix, Extents(experts, width, hidden)),
          shared(width, shared_hidden),
          shared_gate(1, width),
          options(options) {}

    /// x [..., width] -> [..., width]. A record is told what was done; see RoutingRecord.
    template <TensorLike X, class Record = NoRoutingRecord>
    auto operator()(const X& x, Record&& record = {}) const {
        const auto tokens = flattened(x);
        const int experts = gate_up.extents[0], count = tokens.extents()[0];
        const auto logits = logits_of(tokens);
        const auto scores = scores_of(logits);
        const auto routed = chosen(scores);
        const int capacity = capacity_of(count);
        const auto rows = dispatch(routed.experts, experts, capacity);
        const auto hidden = hidden_of(gather_rows(tokens, rows), rows.begins);
        const auto results =
            down_adapter_.added(hidden, grouped_matmul(hidden, down, rows.begins), rows.begins);
        if constexpr (std::remove_cvref_t<Record>::is_kept)
            record.add(
                {logits, probabilities_of(scores), routed.experts, rows.load, sequences_of(x), capacity});
        const auto y = combine_rows(results, routed.weights, rows);
        return detail::reshaped<typename X::shape_type>(with_shared(tokens, y), x.extents());
    }

    /// The result plus an addend.
    template <TensorLike X, TensorLike Addend, class Record = NoRoutingRecord>
    auto added(const X& x, const Addend& addend, Record&& record = {}) const {
        return Tensor(addend + (*this)(x, record));
    }

    /// A step of balancing without a loss: the bias of an expert that has more assignments than on average
    /// falls by `rate`, and that of one that has less rises (Wang et al. 2024, "Auxiliary-loss-free load
    /// balancing strategy"). Waits for the device.
    void balance(const Tensor<std::int32_t, Shape<dyn>, Device>& load,
                 double rate) requires(Features::router_bias) {
        const auto& counts = on_host(load);
        std::int64_t all = 0;
        for (const std::int32_t count : counts.span()) all += count;
        auto* const on_device = static_cast<Master*>(router_bias.data);
        std::vector<Master> bias(static_cast<std::size_t>(counts.size()));
        Memory<Device>::copy(static_cast<const Master*>(on_device), counts.size(), bias.data());
        for (std::size_t i = 0; i < bias.size(); ++i) {
            const std::int64_t excess = counts.data()[i] * counts.size() - all;
            bias[i] += static_cast<Master>(excess > 0 ? -rate : excess < 0 ? rate : 0);
        }
        Memory<Device>::copy(static_cast<const Master*>(bias.data()), counts.size(), on_device);
    }

    /// The most assignments that an expert takes of so many tokens'; 0: all.
    int capacity_of(int tokens) const {
        if (options.capacity_factor == 0) return 0;
        const double each =
            static_cast<double>(tokens) * options.route.experts_per_token / gate_up.extents[0];
        return std::max(1, static_cast<int>(std::ceil(options.capacity_factor * each)));
    }

    void visit_parameters(ParameterVisitor& visit) {
        visit("router.weight", router);
        if constexpr (Features::router_bias) visit("router.bias", router_bias);
        visit("gate_up.weight", gate_up);
        visit("down.weight", down);
        router_adapter_.visit_place(visit, "router.weight", router);
        gate_up_adapter_.visit_place(visit, "gate_up.weight", gate_up);
        down_adapter_.visit_place(visit, "down.weight", down);
        if constexpr (Features::shared_expert) visit.part("shared", shared);
        if constexpr (Features::shared_expert_gate) visit.part("shared_gate", shared_gate);
    }

    /// The router computes in f32, whose roundings decide between experts: as norms' parameters, it is kept
    /// as the optimizer keeps it.
    WideParameter<Shape<Experts, Width>> router;
    [[no_unique_address]] std::conditional_t<Features::router_bias, WideParameter<Shape<Experts>>, Absent>
        router_bias;
    Weight<Shape<Experts, both, Width>> gate_up;  ///< an expert's gate, and then what it is multiplied with
    Weight<Shape<Experts, Width, Hidden>> down;
    [[no_unique_address]] std::conditional_t<Features::shared_expert, FeedForward<Setting, Width, dyn, kind>,
                                             Absent>
        shared;
    [[no_unique_address]] std::conditional_t<Features::shared_expert_gate, Linear<Setting, 1, Width>, Absent>
        shared_gate;
    MixtureOptions options;

private:
    using Master = typename Setting::Precision::master;

    template <class X>
    static auto flattened(const X& x) {
        static_assert(X::rank == 2 || X::rank == 3,
                      "a mixture of experts takes [tokens, width], or sequences");
        if constexpr (X::rank == 3)
            return merge_axes<0>(x);
        else
            return x;
    }
    template <class X>
    static int sequences_of(const X& x) {
        return X::rank == 3 ? x.extents()[0] : 1;
    }

    /// A parameter of the optimizer's type in that of computation.
    template <class P>
    static auto wide(const P& parameter) {
        return widened(parameter.tensor());
    }

    template <class X>
    auto logits_of(const X& tokens) const {
        const auto x = widened(tokens);
        return router_adapter_.added(x, matmul<right>(x, wide(router)));
    }

    template <class X, class Begins>
    auto hidden_of(const X& rows, const Begins& begins) const {
        return activated(gate_up_adapter_.added(rows, grouped_matmul(rows, gate_up, begins), begins));
    }

    template <class L>
    static auto scores_of(const L& logits) {
        if constexpr (Features::router_score == RouterScore::softmax)
            return softmax(logits);
        else
            return Tensor(sigmoid(logits));
    }
    template <class S>
    static auto probabilities_of(const S& scores) {
        if constexpr (Features::router_score == RouterScore::softmax)
            return scores;
        else
            return Tensor(scores / sum<keep_axis<1>>(scores));
    }

    template <class S>
    auto chosen(const S& scores) const {
        if constexpr (Features::router_bias)
            return route(scores, options.route, widened(router_bias.value()));
        else
            return route(scores, options.route);
    }

    /// f(gate) · up of the two halves of rows.
    template <class H>
    static auto activated(const H& halves) {
        const int hidden = halves.extents()[1] / 2;
        if constexpr (is_exact(extent_code(Hidden)))
            return Tensor(detail::activation<kind>(slice<1, 0, Hidden>(halves)) *
                          slice<1, Hidden, both>(halves));
        else
            return Tensor(detail::activation<kind>(slice<1>(halves, 0, hidden)) *
                          slice<1>(halves, hidden, 2 * hidden));
    }

    template <class X, class Y>
    auto with_shared(const X& tokens, const Y& y) const {
        if constexpr (!Features::shared_expert)
            return y;
        else if constexpr (Features::shared_expert_gate)
            return Tensor(y + sigmoid(shared_gate(tokens)) * shared(tokens));
        else
            return shared.added(tokens, y);
    }

    [[no_unique_address]] AdapterSlot<Setting, Master> router_adapter_;
    [[no_unique_address]] AdapterSlot<Setting> gate_up_adapter_, down_adapter_;
};

namespace detail {

template <class Setting, auto Width, auto Hidden, class Features>
    requires(Features::mixture_of_experts && !Features::has_dense_layers)
struct FeedForwardOf<Setting, Width, Hidden, Features> {
    using type = MixtureOfExperts<Setting, Width, Hidden, Features::experts, Features>;
    static type make(int width, int hidden, const MixtureSizes& sizes) {
        return type(sizes.options, width, hidden, sizes.experts, sizes.shared_hidden);
    }
};

}  // namespace detail

}  // namespace tenon
