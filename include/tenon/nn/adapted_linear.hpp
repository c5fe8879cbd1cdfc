#pragma once

#include <cstdint>
#include <utility>

#include <tenon/expression/functions.hpp>
#include <tenon/nn/dropout.hpp>
#include <tenon/nn/linear.hpp>
#include <tenon/nn/setting.hpp>
#include <tenon/nn/visitor.hpp>
#include <tenon/op/matmul/matmul_add.hpp>

/// Low-rank adaptation (Hu et al. 2021, "LoRA: Low-rank adaptation of large language models"): a model
/// `Transformer<C, D, P, Adapted>` keeps its own parameters as they are, without gradients, and its linear
/// layers have places for adapters, which are trained (see Adapters). Other models know nothing of it.
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

/// x -> scale · (x Aᵀ) Bᵀ, which is added to the result of a linear layer. B begins as 0.
template <class T, class D>
struct Adapter : AdapterBase {
    using Matrix = Parameter<T, Shape<dyn, dyn>, D>;

    Adapter(int out, int in, int rank, double factor)
        : AdapterBase{factor}, a(Role::matrix, Extents(rank, in)), b(Role::matrix, Extents(out, rank)) {}

    Matrix a;  ///< [rank, in]
    Matrix b;  ///< [out, rank]
};

/// Where a linear layer keeps its adapter, null if it has none.
struct AdapterPlace {
    ParameterBase& weight;
    const AdapterBase*& adapter;
};

/// A layer whose weight and bias are frozen, and which may have an adapter.
template <class D, Precision P, auto Out, auto In, bool HasBias>
class Linear<Setting<D, P, Adapted>, Out, In, HasBias>
    : public Linear<Setting<D, P, Untracked>, Out, In, HasBias> {
    using Frozen = Linear<Setting<D, P, Untracked>, Out, In, HasBias>;
    static constexpr MatmulOptions right{.transpose_right = true};

public:
    /// No layer may take the weight for the whole layer, and fuse it with others.
    static constexpr bool adds = false;

    using Frozen::Frozen;

    template <Argument X>
    auto operator()(X&& argument) const {
        const auto x = evaluate(std::forward<X>(argument));
        return adapted(x, Tensor(static_cast<const Frozen&>(*this)(x)));
    }

    template <Argument X, TensorLike Addend>
    auto added(X&& argument, const Addend& addend) const {
        const auto x = evaluate(std::forward<X>(argument));
        return adapted(x, Frozen::added(x, addend));
    }

    void visit_parameters(ParameterVisitor& visit) {
        Frozen::visit_parameters(visit);
        AdapterPlace place{weight, adapter_};
        visit(place);
    }

private:
    using Frozen::weight;  // which is not the whole layer: no other may multiply by it

    template <class X, class Y>
    Y adapted(const X& x, Y y) const {
        if (!adapter_) return y;
        const auto& own = static_cast<const Adapter<typename P::storage, D>&>(*adapter_);
        const auto added_to_y = [&](const auto& read) -> Y {
            const Tensor narrow = own.scale * matmul<right>(read, own.a);
            return matmul_add<right>(narrow, own.b, Nothing(), y);
        };
        const DropoutKey* const key = TrainingPass::key();
        return own.dropout > 0 && key ? added_to_y(dropout(x, own.dropout_in(*key))) : added_to_y(x);
    }

    const AdapterBase* adapter_ = nullptr;
};

}  // namespace tenon
