#pragma once

#include <tenon/expression/evaluate.hpp>

namespace tenon {

/// An expression that has a name. An operation refuses it: computed once here and once there, it would
/// silently cost twice. `Tensor h = …;` evaluates it once.
template <class X>
concept NamedExpression = Lazy<X> && std::is_lvalue_reference_v<X>;

/// What an operation takes: a tensor, what holds one (a parameter), or an unnamed expression, which is
/// evaluated.
template <class X>
concept Argument = TensorLike<X> || detail::HasTensor<std::remove_cvref_t<X>> ||
    (Lazy<X> && !NamedExpression<X>);

/// The tensor that an argument is, or becomes.
template <class X>
using Evaluated = decltype(evaluate(std::declval<X>()));

/// The shape type of an argument.
template <class X>
using ShapeOfArgument = typename Evaluated<X>::shape_type;

/// What operations return for a named expression: an error that says what to write.
template <class Operation, class X>
using NamedExpressionError = mismatch::named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<
    Operation, typename std::remove_cvref_t<X>::shape_type>;

}  // namespace tenon
