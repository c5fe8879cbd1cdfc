#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include <tenon/expression/cpu.hpp>
#include <tenon/expression/reduction.hpp>
#include <tenon/expression/reduction_cpu.hpp>
#include <tenon/optim/cpu.hpp>

#include "../support.hpp"

using namespace tenon;

namespace {

std::vector<double> random_matrix(std::int64_t count, std::uint32_t seed) {
    support::Numbers next(seed);
    std::vector<double> result(static_cast<std::size_t>(count));
    for (double& x : result) x = next();
    return result;
}

double norm_of(const std::vector<double>& x) {
    double total = 0;
    for (const double element : x) total += element * element;
    return std::sqrt(total);
}

std::vector<double> iterate(std::int64_t rows, std::int64_t columns, int iterations, std::vector<double> x) {
    std::vector<double> other(x.size());
    const double* result =
        detail::newton_schulz(rows, columns, iterations, 1 / norm_of(x), x.data(), other.data());
    return {result, result + x.size()};
}

/// The iteration as it is written, in plain loops, for a wide matrix.
std::vector<double> reference(std::size_t rows, std::size_t columns, int iterations, std::vector<double> x) {
    const double norm = norm_of(x);
    for (double& element : x) element /= norm;
    const auto multiply = [](const std::vector<double>& a, const std::vector<double>& b, std::size_t rows,
                             std::size_t columns, std::size_t depth) {
        std::vector<double> c(rows * columns);
        for (std::size_t i = 0; i < rows; ++i)
            for (std::size_t k = 0; k < depth; ++k)
                for (std::size_t j = 0; j < columns; ++j)
                    c[i * columns + j] += a[i * depth + k] * b[k * columns + j];
        return c;
    };
    for (int iteration = 0; iteration < iterations; ++iteration) {
        std::vector<double> transposed(x.size());
        for (std::size_t i = 0; i < rows; ++i)
            for (std::size_t j = 0; j < columns; ++j) transposed[j * rows + i] = x[i * columns + j];
        const auto gram = multiply(x, transposed, rows, rows, columns);
        const auto fourth = multiply(gram, gram, rows, rows, rows);
        const auto third = multiply(gram, x, rows, columns, rows),
                   fifth = multiply(fourth, x, rows, columns, rows);
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = 3.4445 * x[i] - 4.7750 * third[i] + 2.0315 * fifth[i];
    }
    return x;
}

std::vector<double> transpose(std::size_t rows, std::size_t columns, const std::vector<double>& x) {
    std::vector<double> result(x.size());
    for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < columns; ++j) result[j * rows + i] = x[i * columns + j];
    return result;
}

double worst_difference(const std::vector<double>& a, const std::vector<double>& b) {
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
    return worst;
}

}  // namespace

TEST_CASE("the iteration is the published one, for wide and tall matrices, of one block and of several") {
    struct Extent {
        int rows, columns;
    };
    for (const auto& [rows, columns] : {Extent{1, 1}, {1, 6}, {5, 5}, {7, 19}, {193, 201}, {230, 230}}) {
        const auto wide = random_matrix(rows * columns, 3);
        const auto exact =
            reference(static_cast<std::size_t>(rows), static_cast<std::size_t>(columns), 5, wide);
        CHECK(worst_difference(iterate(rows, columns, 5, wide), exact) < 1e-12);
        const auto r = static_cast<std::size_t>(rows), c = static_cast<std::size_t>(columns);
        CHECK(worst_difference(iterate(columns, rows, 5, transpose(r, c, wide)), transpose(r, c, exact)) <
              1e-12);
    }
}

TEST_CASE("it brings the singular values of a diagonal matrix near 1, and leaves the rest zero") {
    constexpr int size = 6;
    std::vector<double> diagonal(size * size);
    for (std::size_t i = 0; i < size; ++i) diagonal[i * size + i] = 1.0 / static_cast<double>(1 + 3 * i);
    const auto result = iterate(size, size, 5, diagonal);
    for (std::size_t i = 0; i < size; ++i)
        for (std::size_t j = 0; j < size; ++j) {
            if (i == j) {
                CHECK(result[i * size + j] > 0.65);
                CHECK(result[i * size + j] < 1.25);
            } else {
                CHECK(result[i * size + j] == 0);
            }
        }
}
