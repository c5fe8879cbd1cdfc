#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <tenon/expression/functions.hpp>
#include <tenon/nn/adapter_slot.hpp>
#include <tenon/nn/dropout.hpp>
#include <tenon/nn/linear.hpp>
#include <tenon/nn/setting.hpp>
#include <tenon/nn/visitor.hpp>
#include <tenon/op/cross_entropy/logits.hpp>
#include <tenon/op/embedding/embedding.hpp>
#include <tenon/op/experts/rows.hpp>
#include <tenon/op/grouped_matmul/grouped_matmul.hpp>
#include <tenon/op/matmul/matmul_add.hpp>

/// Low-rank adaptation (Hu et al. 2021, "LoRA: Low-rank adaptation of large language models"): a model
/// `Transformer<C, D, P, Adapted>` keeps its own parameters as they are, without gradients, and its linear
/// layers, experts, head and embedding have places for adapters, which are trained (see Adapters). Other
/// models know nothing of it.
namespace tenon {

/// Says by its type that a model's own parameters are frozen, and gradients pass through to its adapters.
struct Adapted {
    static constexpr bool is_tracked = true;
};

template <class D, Precision P>
struct Setting<D, P, Adapted> {
    using Device = D;
    using Precision = P;
    using Tracking = Tracked;  // of what is computed
    static constexpr bool is_adapted = true;
    using Value = typename P::storage;

    static_assert(detail::may_have_weights<WeightOf<P>, Value, D, Tracking>,
                  "weights of the type that a file has are for models on the CPU that only run forward");

    template <class S>
    using Parameter = tenon::Parameter<Value, S, D, Untracked>;
    template <class S>
    using Weight = Parameter<S>;
    template <class S>
    using NormParameter = tenon::Parameter<typename P::master, S, D, Untracked>;

    /// A constant, of the type that it has after the first adapter.
    template <class X>
    static auto entering(const X& x) {
        using T = typename X::value_type;
        return Tensor<T, typename X::shape_type, D, Tracked>(x.storage(), x.data(), x.extents());
    }
};

/// What every adapter has.
struct AdapterBase {
    double scale = 1;                     ///< of its result
    double dropout = 0;                   ///< probability, of what it reads in a TrainingPass
    std::uint64_t number = 0, count = 1;  ///< among all that the model has

    Dropout dropout_in(const DropoutKey& key) const {
        // Streams that neither a model's own dropout nor parameters and batches have.
        constexpr std::uint64_t first = std::uint64_t{3} << 62;
        return {dropout, key.seed, first + key.step * count + number, key.step_in_memory, count};
    }
};

/// The extents of an adapter's A and B, of a layer whose weight is [out, in] or [groups, out, in].
struct AdapterExtents {
    Extents a, b;

    AdapterExtents(const Extents& weight, int rank) : a(weight), b(weight) {
        a[weight.rank - 2] = b[weight.rank - 1] = rank;
    }
};

/// x -> scale · (x Aᵀ) Bᵀ, which is added to the result of a linear layer; or to rows of a table B, scale ·
/// B[id] A. B begins as 0.
template <class T, class D>
struct Adapter : AdapterBase {
    using Matrix = Parameter<T, Shape<dyn, dyn>, D>;

    Adapter(const AdapterExtents& extents, double factor)
        : AdapterBase{factor}, a(Role::matrix, extents.a), b(Role::matrix, extents.b) {}

    Matrix a;  ///< [rank, in]
    Matrix b;  ///< [out, rank]
};

/// The same for each group of rows that have a matrix of their own: experts'.
template <class T, class D>
struct GroupedAdapter : AdapterBase {
    using Matrices = Parameter<T, Shape<dyn, dyn, dyn>, D>;

    GroupedAdapter(const AdapterExtents& extents, double factor)
        : AdapterBase{factor}, a(Role::matrix, extents.a), b(Role::matrix, extents.b) {}

    Matrices a;  ///< [groups, rank, in]
    Matrices b;  ///< [groups, out, rank]
};

/// Where a layer keeps its adapter, null if it has none: a GroupedAdapter where its weight has three axes.
/// Its type is the model's Value, or the weight's where that is the optimizer's.
struct AdapterPlace {
    ParameterBase& weight;
    const AdapterBase*& adapter;
};

template <class D, Precision P, class T>
class AdapterSlot<Setting<D, P, Adapted>, T> {
    static constexpr MatmulOptions right{.transpose_right = true};

public:
    template <class X, class Y>
    Y added(const X& x, const Y& y) const {
        if (!adapter_) return y;
        return matmul_add<right>(narrow(x), factor_of<X>(own().b), Nothing(), y);
    }

    template <class X, class Y, class Begins>
    Y added(const X& rows, const Y& y, const Begins& begins) const {
        if (!adapter_) return y;
        const auto& own = static_cast<const GroupedAdapter<T, D>&>(*adapter_);
        const auto added_to_y = [&](const auto& read) -> Y {
            const Tensor narrow = own.scale * grouped_matmul(read, own.a, begins);
            return Tensor(y + grouped_matmul(narrow, own.b, begins));
        };
        return with_dropout(rows, added_to_y);
    }

    /// Nothing drops out of a row.
    template <class Ids, class Y>
    Y added_rows(const Ids& ids, const Y& y) const {
        if (!adapter_) return y;
        const Tensor narrow = own().scale * embedding(own().b, ids);
        return matmul_add(narrow, own().a, Nothing(), y);
    }

    /// What is added to logits of these states; see Logits.
    template <class X>
    auto logits_addend(const X& states) const {
        using Narrow = decltype(narrow(states));
        using Addend = LogitsAddend<Narrow, decltype(own().b.tensor())>;
        return adapter_ ? std::optional<Addend>(Addend{narrow(states), own().b.tensor()}) : std::nullopt;
    }

    void visit_place(ParameterVisitor& visit, std::string_view name, ParameterBase& weight) {
        AdapterPlace place{weight, adapter_};
        visit(name, place);
    }

private:
    const Adapter<T, D>& own() const { return static_cast<const Adapter<T, D>&>(*adapter_); }

    /// scale · x Aᵀ
    template <class X>
    auto narrow(const X& x) const {
        return with_dropout(x, [&](const auto& read) {
            return Tensor(own().scale * matmul<right>(read, factor_of<X>(own().a)));
        });
    }

    /// A matrix in the type of what it multiplies: routers compute in a wider type than they are kept in.
    template <class X, class M>
    static auto factor_of(const M& matrix) {
        if constexpr (std::same_as<typename X::value_type, T>)
            return matrix.tensor();
        else
            return widened(matrix.tensor());
    }

    template <class X, class F>
    auto with_dropout(const X& x, const F& f) const -> decltype(f(x)) {
        const DropoutKey* const key = TrainingPass::key();
        return adapter_->dropout > 0 && key ? f(dropout(x, adapter_->dropout_in(*key))) : f(x);
    }

    const AdapterBase* adapter_ = nullptr;
};

/// A layer whose weight and bias are frozen, and which may have an adapter.
template <class D, Precision P, auto Out, auto In, bool HasBias>
class Linear<Setting<D, P, Adapted>, Out, In, HasBias>
    : public Linear<Setting<D, P, Untracked>, Out, In, HasBias> {
    using Frozen = Linear<Setting<D, P, Untracked>, Out, In, HasBias>;

public:
    /// No layer may take the weight for the whole layer, and fuse it with others.
    static constexpr bool adds = false;

    using Frozen::Frozen;

    template <Argument X>
    auto operator()(X&& argument) const {
        const auto x = evaluate(std::forward<X>(argument));
        return adapter_.added(x, Tensor(static_cast<const Frozen&>(*this)(x)));
    }

    template <Argument X, TensorLike Addend>
    auto added(X&& argument, const Addend& addend) const {
        const auto x = evaluate(std::forward<X>(argument));
        return adapter_.added(x, Frozen::added(x, addend));
    }

    void visit_parameters(ParameterVisitor& visit) {
        Frozen::visit_parameters(visit);
        adapter_.visit_place(visit, "weight", weight);
    }

private:
    using Frozen::weight;  // which is not the whole layer: no other may multiply by it

    AdapterSlot<Setting<D, P, Adapted>> adapter_;
};

}  // namespace tenon
