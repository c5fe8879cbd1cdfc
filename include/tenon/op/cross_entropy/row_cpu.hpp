#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>

#include <tenon/core/packet.hpp>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#include <tenon/op/softmax/row_cpu.hpp>
#include <tenon/op/softmax/rows.hpp>

namespace tenon::kernel {

/// What a loss needs of a row of logits, gathered chunk by chunk.
template <class C>
struct RowStatistics {
    C greatest = -std::numeric_limits<C>::infinity();
    C exponentials = 0;  // the sum of exp(logit - greatest)
    double total = 0;    // the sum of the logits, where it is asked for
    C target = 0;        // the target's logit

    /// `target_number` counts from the chunk's first; it may lie in another chunk.
    void include(const C* row, std::int64_t count, std::int64_t target_number, bool with_total) {
        using V = Packet<C>;
        constexpr C infinity = std::numeric_limits<C>::infinity();
        const C now = max(greatest, row_maximum(row, count));
        const C shift = now == -infinity ? C(0) : now;  // -infinity less itself would be NaN
        exponentials = exponentials * std::exp(greatest - shift) +
                       row_exponential_sum<false>(row, count, shift, static_cast<C*>(nullptr));
        greatest = now;
        if (with_total)
            total += static_cast<double>(row_sum<C>(
                count, [=](std::int64_t at, int lanes) { return V::load_partial(row + at, lanes); }));
        if (target_number >= 0 && target_number < count) target = row[target_number];
    }

    C log_sum_exp() const { return greatest + std::log(exponentials); }
};

/// How logits follow from the product of hidden states and head, which comes multiplied by `product_scale`;
/// the product's gradient is that of the logits times their slope and `gradient_scale`.
template <class C, class Options>
struct LogitsMap {
    C product_scale = 1, gradient_scale = 1, cap = 0, inverse_cap = 0;

    static constexpr bool is_plain = std::same_as<Options, PlainLogits>;

    explicit LogitsMap(const Options& options) {
        if constexpr (!is_plain) {
            product_scale = gradient_scale = static_cast<C>(options.scale);
            if (options.soft_cap == 0) return;
            cap = static_cast<C>(options.soft_cap);
            inverse_cap = C(1) / cap;
            product_scale *= inverse_cap;
        }
    }

    void apply(C* row, std::int64_t count) const {
        if constexpr (!is_plain) {
            using V = Packet<C>;
            if (cap == 0) return;
            for (std::int64_t at = 0; at < count; at += V::size) {
                const int lanes = static_cast<int>(std::min<std::int64_t>(V::size, count - at));
                (V(cap) * tanh(V::load_partial(row + at, lanes))).store_partial(row + at, lanes);
            }
        }
    }

    /// The slope of the cap times `gradient`, for numbers and packets.
    template <class V>
    V times_slope(V gradient, [[maybe_unused]] V logit) const {
        if constexpr (is_plain)
            return gradient;
        else
            return gradient - gradient * (logit * V(inverse_cap)) * (logit * V(inverse_cap));
    }
};

/// The loss at one position, in terms of its row of logits z and their log sum exp L:
/// L - (1 - s) z[target] - s mean(z) + c L², with label smoothing s and z-loss c; and its gradient
/// (1 + 2 c L) softmax(z) - s / vocabulary - (1 - s) at the target, over the number of positions that count.
template <class C>
class PositionLoss {
public:
    PositionLoss(const CrossEntropyOptions& options, std::int64_t vocabulary, std::int64_t counted,
                 C upstream = C(1))
        : smoothing_(options.label_smoothing),
          per_logit_(options.label_smoothing / static_cast<double>(vocabulary)),
          z_loss_(options.z_loss),
          scale_(counted > 0 ? static_cast<double>(upstream) / static_cast<double>(counted) : 0) {}

    bool needs_total() const { return smoothing_ > 0; }

    C value(const RowStatistics<C>& row) const {
        const double log_sum_exp = static_cast<double>(row.log_sum_exp());
        return static_cast<C>(log_sum_exp - (1 - smoothing_) * static_cast<double>(row.target) -
                              per_logit_ * row.total + z_loss_ * log_sum_exp * log_sum_exp);
    }

    /// Writes the gradient with respect to a chunk of a row's logits, or of what they are a map of, or adds
    /// it; `out` may be the row.
    template <class Options>
    void gradient(const C* row, std::int64_t count, std::int64_t target_number, C log_sum_exp,
                  const LogitsMap<C, Options>& map, C* out, bool accumulate) const {
        using V = Packet<C>;
        const bool has_target = target_number >= 0 && target_number < count;
        const C at_target =
            has_target ? map.times_slope(static_cast<C>((1 - smoothing_) * scale_), row[target_number])
                       : C(0);
        const V weight(static_cast<C>((1 + 2 * z_loss_ * static_cast<double>(log_sum_exp)) * scale_));
        const V even(static_cast<C>(-per_logit_ * scale_));
        for (std::int64_t at = 0; at < count; at += V::size) {
            const int lanes = static_cast<int>(std::min<std::int64_t>(V::size, count - at));
            const V logit = V::load_partial(row + at, lanes);
            V value = map.times_slope(fma(weight, exp(logit - V(log_sum_exp)), even), logit);
            if (accumulate) value += V::load_partial(out + at, lanes);
            value.store_partial(out + at, lanes);
        }
        if (has_target) out[target_number] -= at_target;
    }

private:
    double smoothing_, per_logit_, z_loss_, scale_;
};

}  // namespace tenon::kernel
