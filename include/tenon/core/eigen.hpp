#pragma once

#include <type_traits>

#include <Eigen/Core>

#include <tenon/core/tensor.hpp>

namespace tenon {

/// A tensor of one or two axes as Eigen sees it: an Eigen::Map of its elements, which the tensor must
/// outlive. Extents do not enter Eigen's types, so that all tensors share what Eigen compiles.
template <TensorLike X>
    requires(X::rank == 1 || X::rank == 2)
auto as_eigen(const X& x) {
    using T = typename X::value_type;
    static_assert(std::is_arithmetic_v<T>, "Eigen computes with its own 16-bit types: pass cast<float>(x)");
    static_assert(std::same_as<typename X::device_type, Cpu>,
                  "Eigen works on the host: copy the tensor to the Cpu");
    using Eigen::Dynamic;
    if constexpr (X::rank == 1) {
        using Vector = Eigen::Matrix<T, Dynamic, 1>;
        if constexpr (X::is_packed)
            return Eigen::Map<Vector>(x.data(), x.extents()[0]);
        else
            return Eigen::Map<Vector, Eigen::Unaligned, Eigen::InnerStride<>>(
                x.data(), x.extents()[0], Eigen::InnerStride<>(x.strides()[0]));
    } else {
        using Matrix = Eigen::Matrix<T, Dynamic, Dynamic, Eigen::RowMajor>;
        if constexpr (X::is_packed)
            return Eigen::Map<Matrix>(x.data(), x.extents()[0], x.extents()[1]);
        else
            return Eigen::Map<Matrix, Eigen::Unaligned, Eigen::Stride<Dynamic, Dynamic>>(
                x.data(), x.extents()[0], x.extents()[1],
                Eigen::Stride<Dynamic, Dynamic>(x.strides()[0], x.strides()[1]));
    }
}

/// A copy of an Eigen matrix, vector or expression. `lengths` may say what the shape leaves open. Throws
/// ShapeError where the matrix has other extents.
template <class S, class Derived, std::same_as<int>... N>
    requires((S::rank == 1 || S::rank == 2) && (sizeof...(N) == 0 || sizeof...(N) == S::dynamic_count))
auto from_eigen(const Eigen::DenseBase<Derived>& given, N... lengths) {
    using Result = Tensor<typename Derived::Scalar, S>;
    const typename Derived::PlainObject matrix = given;
    const int rows = static_cast<int>(matrix.rows()), columns = static_cast<int>(matrix.cols());
    const bool is_vector = S::rank == 1 && (rows == 1 || columns == 1);
    Result result = Result::with_extents(is_vector ? Extents(rows * columns) : Extents(rows, columns));
    if constexpr (sizeof...(N) > 0) {
        const Extents expected = Result::uninitialized(lengths...).extents();
        if (!(expected == result.extents())) throw_mismatch<mismatch::assignment>(result.extents(), expected);
    }
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) result.data()[std::int64_t{i} * columns + j] = matrix(i, j);
    return result;
}

}  // namespace tenon
