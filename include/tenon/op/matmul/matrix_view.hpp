#pragma once

#include <cstdint>

namespace tenon::kernel {

/// A matrix anywhere in memory: element (i, j) lies at data[i * row_stride + j * column_stride].
template <class T>
struct MatrixView {
    T* data;
    std::int64_t row_stride, column_stride;

    T& operator()(std::int64_t i, std::int64_t j) const { return data[i * row_stride + j * column_stride]; }
    MatrixView from(std::int64_t i, std::int64_t j) const {
        return {&(*this)(i, j), row_stride, column_stride};
    }
    MatrixView transposed() const { return {data, column_stride, row_stride}; }
};

}  // namespace tenon::kernel
