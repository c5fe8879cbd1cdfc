#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/core/element.hpp>
#include <tenon/op/matmul/product.hpp>

using tenon::kernel::MatrixView;

namespace {

/// Numbers in [-1, 1) that look random and are the same on every machine.
template <class T>
std::vector<T> numbers(std::int64_t count, std::uint32_t seed) {
    std::vector<T> result(count);
    for (T& number : result) {
        seed = seed * 1664525u + 1013904223u;
        number = static_cast<T>(static_cast<double>(seed >> 8) / (1 << 23) - 1);
    }
    return result;
}

enum class Layout { row_major, column_major, apart };

/// A matrix of the test: its elements among others that must not be touched.
template <class T>
struct Matrix {
    std::vector<T> memory;
    MatrixView<T> view;

    Matrix(std::int64_t rows, std::int64_t columns, Layout layout, std::uint32_t seed) {
        // Exactly as much memory as the view reaches, so that the sanitizers see a step beyond it.
        if (layout == Layout::row_major) view = {nullptr, columns + 3, 1};
        if (layout == Layout::column_major) view = {nullptr, 1, rows + 5};
        if (layout == Layout::apart) view = {nullptr, 2 * columns + 1, 2};
        const bool empty = rows == 0 || columns == 0;
        memory = numbers<T>(empty ? 0 : (rows - 1) * view.row_stride + (columns - 1) * view.column_stride + 1,
                            seed);
        view.data = memory.data();
    }
    MatrixView<const T> constant() const { return {view.data, view.row_stride, view.column_stride}; }
};

template <class T>
void check_product(std::int64_t rows, std::int64_t columns, std::int64_t depth, Layout a_layout,
                   Layout b_layout, bool accumulate, T scale) {
    const Matrix<T> a(rows, depth, a_layout, 1), b(depth, columns, b_layout, 2);
    Matrix<T> c(rows, columns, Layout::row_major, 3);
    const std::vector<T> before = c.memory;
    tenon::kernel::matrix_product(rows, columns, depth, a.constant(), b.constant(), c.view, accumulate,
                                  scale);
    // A sum of `depth` terms of at most 1 each, by the theory of rounding.
    const double size = static_cast<double>(std::abs(scale)) * static_cast<double>(depth) / 2 + 8;
    const double tolerance = static_cast<double>(std::numeric_limits<T>::epsilon()) * size;
    double worst = 0;
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) {
            long double sum = 0;
            for (std::int64_t k = 0; k < depth; ++k)
                sum += static_cast<long double>(a.view(i, k)) * b.view(k, j);
            sum *= scale;
            if (accumulate) sum += before[i * c.view.row_stride + j];
            worst = std::max(worst, static_cast<double>(std::abs(sum - c.view(i, j))));
        }
        for (std::int64_t j = columns; j < c.view.row_stride && i + 1 < rows; ++j) {
            if (c.memory[i * c.view.row_stride + j] != before[i * c.view.row_stride + j])
                FAIL("wrote beside c");
        }
    }
    INFO(rows, " x ", depth, " x ", columns, " layouts ", int(a_layout), int(b_layout));
    CHECK(worst < tolerance);
}

}  // namespace

TEST_CASE_TEMPLATE("products of all small sizes and layouts agree with the definition", T, float, double) {
    const Layout layouts[] = {Layout::row_major, Layout::column_major, Layout::apart};
    for (const std::int64_t rows : {1, 2, 5, 6, 7, 8, 9, 17, 31}) {
        for (const std::int64_t columns : {1, 3, 7, 16, 17, 33, 48, 49, 101}) {
            for (const std::int64_t depth : {0, 1, 2, 7, 16, 17, 35}) {
                for (const Layout a : layouts) {
                    for (const Layout b : layouts) {
                        check_product<T>(rows, columns, depth, a, b, (rows + columns) % 2 == 0, T(1));
                    }
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("products larger than the blocks agree with the definition", T, float, double) {
    check_product<T>(70, 90, 1000, Layout::row_major, Layout::row_major, false, T(0.5));
    check_product<T>(70, 90, 5000, Layout::row_major, Layout::column_major, true, T(-2));
    check_product<T>(600, 50, 300, Layout::column_major, Layout::row_major, true, T(1));
    check_product<T>(20, 1100, 300, Layout::column_major, Layout::column_major, false, T(1));
    check_product<T>(1, 3000, 700, Layout::row_major, Layout::row_major, false, T(3));
    check_product<T>(3, 2500, 300, Layout::row_major, Layout::row_major, true, T(3));
    check_product<T>(1, 3000, 700, Layout::row_major, Layout::column_major, true, T(3));
    check_product<T>(3000, 2, 700, Layout::row_major, Layout::row_major, true, T(3));
}

TEST_CASE_TEMPLATE("the result is the same to the last bit for any number of threads", T, float, double) {
    const int before = tenon::thread_count();
    struct Size {
        std::int64_t rows, columns, depth;
        Layout a, b;
    };
    const Size sizes[] = {{300, 500, 700, Layout::row_major, Layout::row_major},
                          {129, 1031, 333, Layout::row_major, Layout::column_major},
                          {1, 5000, 1111, Layout::row_major, Layout::column_major},
                          {4, 5000, 1111, Layout::row_major, Layout::row_major}};
    for (const Size& size : sizes) {
        const Matrix<T> a(size.rows, size.depth, size.a, 1), b(size.depth, size.columns, size.b, 2);
        std::vector<T> reference;
        for (const int threads : {1, 2, 3, 8}) {
            tenon::set_thread_count(threads);
            Matrix<T> c(size.rows, size.columns, Layout::row_major, 3);
            tenon::kernel::matrix_product(size.rows, size.columns, size.depth, a.constant(), b.constant(),
                                          c.view, true);
            if (threads == 1) reference = c.memory;
            CHECK(std::memcmp(reference.data(), c.memory.data(), reference.size() * sizeof(T)) == 0);
            tenon::kernel::serial_matrix_product(size.rows, size.columns, size.depth, a.constant(),
                                                 b.constant(), c.view, false);
        }
    }
    tenon::set_thread_count(before);
}

TEST_CASE_TEMPLATE("a batch of products is the products one by one", T, float, double) {
    const std::int64_t batch = 5;
    for (const std::int64_t size : {3, 40, 150}) {
        const auto a = numbers<T>(batch * size * size, 1), b = numbers<T>(size * size, 2);
        std::vector<T> together(batch * size * size), apart(batch * size * size);
        const auto view = [&](auto* data) {
            return MatrixView<std::remove_pointer_t<decltype(data)>>{data, size, 1};
        };
        tenon::kernel::batched_matrix_product(batch, size, size, size, view(a.data()), size * size,
                                              view(b.data()), 0, view(together.data()), size * size, false);
        for (std::int64_t i = 0; i < batch; ++i) {
            tenon::kernel::matrix_product(size, size, size, view(a.data() + i * size * size), view(b.data()),
                                          view(apart.data() + i * size * size), false);
        }
        CHECK(together == apart);
    }
}

TEST_CASE("without accumulation what c held does not matter, not even when it is not a number") {
    for (const std::int64_t rows : {1, 3, 20}) {
        for (const std::int64_t depth : {0, 5}) {
            std::vector<float> a(rows * depth, 1.f), b(depth * 20, 1.f);
            std::vector<float> c(rows * 20, std::numeric_limits<float>::quiet_NaN());
            tenon::kernel::matrix_product<float>(rows, 20, depth, {a.data(), depth, 1}, {b.data(), 20, 1},
                                                 {c.data(), 20, 1}, false);
            for (const float number : c) REQUIRE(number == static_cast<float>(depth));
        }
    }
}

namespace {

/// Compares the product with a right factor of 16 bits with that of the factor's elements as floats.
template <class H>
void check_halves(std::int64_t rows, std::int64_t columns, std::int64_t depth, Layout a_layout,
                  Layout b_layout, bool accumulate) {
    const Matrix<float> a(rows, depth, a_layout, 1);
    Matrix<float> wide(depth, columns, b_layout, 2);
    // Exactly as much memory as the view reaches, here too.
    std::vector<H> halves;
    for (float& number : wide.memory) number = static_cast<float>(halves.emplace_back(number));
    const MatrixView<const H> narrow{halves.data(), wide.view.row_stride, wide.view.column_stride};
    Matrix<float> expected(rows, columns, Layout::row_major, 3), c(rows, columns, Layout::row_major, 3);
    tenon::kernel::matrix_product(rows, columns, depth, a.constant(), wide.constant(), expected.view,
                                  accumulate, 0.75f);
    tenon::kernel::matrix_product(rows, columns, depth, a.constant(), narrow, c.view, accumulate, 0.75f);
    INFO(rows, " x ", depth, " x ", columns, " layouts ", int(a_layout), int(b_layout));
    CHECK(std::memcmp(expected.memory.data(), c.memory.data(), c.memory.size() * sizeof(float)) == 0);
}

}  // namespace

TEST_CASE_TEMPLATE("a right factor of 16 bits gives, to the last bit, what its elements as floats do", H,
                   tenon::bf16, tenon::f16) {
    const int before = tenon::thread_count();
    const Layout layouts[] = {Layout::row_major, Layout::column_major, Layout::apart};
    for (const int threads : {1, 2}) {
        tenon::set_thread_count(threads);
        for (const Layout a : layouts) {
            for (const Layout b : layouts) {
                for (const std::int64_t rows : {1, 2, 5, 12, 13, 33})
                    for (const std::int64_t columns : {1, 3, 12, 16, 49, 101})
                        for (const std::int64_t depth : {0, 1, 15, 16, 50})
                            check_halves<H>(rows, columns, depth, a, b, (rows + columns) % 2 == 0);
                // Larger than the blocks, and shared out.
                check_halves<H>(1, 1031, 1111, a, b, false);
                check_halves<H>(4, 1031, 333, a, b, true);
                check_halves<H>(70, 531, 1000, a, b, true);
                check_halves<H>(300, 3, 700, a, b, false);
            }
        }
    }
    tenon::set_thread_count(before);
}
