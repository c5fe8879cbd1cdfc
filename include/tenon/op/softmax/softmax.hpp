#pragma once

#include <tenon/expression/reduction.hpp>
#include <tenon/op/operation.hpp>

namespace tenon {

/// Softmax over the last axis: exp(x - max x) / sum of exp(x - max x). One fused pass each way, rows in
/// cache.
struct Softmax {};

template <Argument A>
    requires(ShapeOfArgument<A>::rank >= 1)
auto softmax(A&& argument) {
    const auto x = evaluate(std::forward<A>(argument));
    // The greatest element only guards against overflow; no gradient goes through it.
    const auto shifted = exp(x - max<keep_axis<-1>>(detach(x)));
    return evaluate(shifted / sum<keep_axis<-1>>(shifted));
}
template <class A>
    requires NamedExpression<A> NamedExpressionError<Softmax, A> softmax(A&&);

}  // namespace tenon
