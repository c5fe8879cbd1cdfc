#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/op/attention/tiled.hpp>

using tenon::AttentionOptions;
using tenon::kernel::AttentionMasks;
using tenon::kernel::AttentionOperand;
using tenon::kernel::AttentionShape;

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

/// Contiguous [batch, time, head, width].
template <class T>
AttentionOperand<T> operand(T* data, std::int64_t times, std::int64_t heads, std::int64_t width) {
    return {data, times * heads * width, heads * width, width};
}

/// Which masks a problem has.
struct Masked {
    bool documents = false, lengths = false, allowed = false;
};

/// An explicit mask that has tiles of all, of none and of some, and differs from head to head.
bool may_attend(std::int64_t batch, std::int64_t head, std::int64_t query, std::int64_t key) {
    if (query % 17 == 3) return false;
    const std::int64_t kind = (query / 64 + key / 64 + head) % 3;
    const auto hash =
        static_cast<std::uint32_t>(((batch * 7 + head) * 1009 + query) * 1013 + key) * 2654435761u;
    return kind == 0 || (kind == 1 && (hash >> 16) % 3 != 0);
}

/// All that attention reads and writes, in memory of its own.
template <class T>
struct Problem {
    AttentionShape shape;
    AttentionOptions options;
    std::vector<int> document_start, lengths;
    std::vector<char> allowed;
    std::vector<T> queries, keys, values, grad_out;
    std::vector<T> out, log_sum_exp, grad_queries, grad_keys, grad_values;

    Problem(AttentionShape given, AttentionOptions chosen, Masked masked = {})
        : shape(given), options(chosen) {
        const auto& s = shape;
        queries = numbers<T>(s.batch * s.query_length * s.heads * s.key_width, 1);
        keys = numbers<T>(s.batch * s.key_length * s.key_value_heads * s.key_width, 2);
        values = numbers<T>(s.batch * s.key_length * s.key_value_heads * s.value_width, 3);
        grad_out = numbers<T>(s.batch * s.query_length * s.heads * s.value_width, 4);
        for (T& number : queries) number *= T(3);
        out.assign(grad_out.size(), T(7));
        log_sum_exp.assign(s.batch * s.heads * s.query_length, T(7));
        grad_queries.assign(queries.size(), T(7));
        grad_keys.assign(keys.size(), T(7));
        grad_values.assign(values.size(), T(7));
        // Documents of 11 positions, and in each later batch one more.
        for (std::int64_t i = 0; i < s.batch * s.key_length && masked.documents; ++i) {
            const std::int64_t length = 11 + i / s.key_length;
            document_start.push_back(static_cast<int>(i % s.key_length / length * length));
        }
        // The first sequence is whole, the next ones two thirds of what is left, the last one empty.
        for (std::int64_t b = 0; b < s.batch && masked.lengths; ++b) {
            const std::int64_t left = b == 0 ? s.key_length : lengths.back() * 2 / 3;
            lengths.push_back(static_cast<int>(b > 0 && b + 1 == s.batch ? 0 : left));
        }
        for (std::int64_t i = 0; i < s.batch * s.heads * s.query_length * s.key_length && masked.allowed;
             ++i) {
            const std::int64_t row = i / s.key_length, head = row / s.query_length;
            allowed.push_back(
                may_attend(head / s.heads, head % s.heads, row % s.query_length, i % s.key_length));
        }
    }

    AttentionMasks masks() const {
        AttentionMasks result;
        if (!document_start.empty()) result.document_start = document_start.data();
        if (!lengths.empty()) result.key_length = lengths.data();
        if (!allowed.empty()) {
            result.allowed = reinterpret_cast<const bool*>(allowed.data());
            result.query_stride = shape.key_length;
            result.head_stride = result.query_stride * shape.query_length;
            result.batch_stride = result.head_stride * shape.heads;
        }
        return result;
    }

    /// Whether a query may attend to a key, by the definitions.
    bool sees(std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t k) const {
        const std::int64_t position = shape.key_length - shape.query_length + t;
        if ((options.causal || options.window > 0) && k > position) return false;
        if (options.window > 0 && k <= position - options.window) return false;
        if (!document_start.empty() && (position < 0 || k < document_start[b * shape.key_length + position]))
            return false;
        if (!lengths.empty() && k >= lengths[b]) return false;
        return allowed.empty() || may_attend(b, h, t, k);
    }

    auto queries_at() const {
        return operand(queries.data(), shape.query_length, shape.heads, shape.key_width);
    }
    auto keys_at() const {
        return operand(keys.data(), shape.key_length, shape.key_value_heads, shape.key_width);
    }
    auto values_at() const {
        return operand(values.data(), shape.key_length, shape.key_value_heads, shape.value_width);
    }
    template <class Data>
    auto out_at(Data* data) const {
        return operand(data, shape.query_length, shape.heads, shape.value_width);
    }

    void forward() {
        tenon::kernel::attention_forward<T>(shape, options, queries_at(), keys_at(), values_at(), masks(),
                                            out_at(out.data()), log_sum_exp.data());
    }

    void backward(bool accumulate = false) {
        const T *result = out.data(), *gradient = grad_out.data();
        tenon::kernel::attention_backward<T>(
            shape, options, queries_at(), keys_at(), values_at(), masks(), out_at(result), log_sum_exp.data(),
            out_at(gradient),
            {operand(grad_queries.data(), shape.query_length, shape.heads, shape.key_width), accumulate},
            {operand(grad_keys.data(), shape.key_length, shape.key_value_heads, shape.key_width), accumulate},
            {operand(grad_values.data(), shape.key_length, shape.key_value_heads, shape.value_width),
             accumulate});
    }
};

/// Attention by its definition, with all gradients, in double.
template <class T>
struct Reference {
    std::vector<double> out, log_sum_exp, grad_queries, grad_keys, grad_values;

    explicit Reference(const Problem<T>& p)
        : out(p.out.size()),
          log_sum_exp(p.log_sum_exp.size()),
          grad_queries(p.queries.size()),
          grad_keys(p.keys.size()),
          grad_values(p.values.size()) {
        const AttentionShape& s = p.shape;
        const double scale = p.options.scale != 0 ? p.options.scale : 1 / std::sqrt(double(s.key_width));
        const double cap = p.options.soft_cap;
        for (std::int64_t b = 0; b < s.batch; ++b) {
            for (std::int64_t h = 0; h < s.heads; ++h) {
                for (std::int64_t t = 0; t < s.query_length; ++t) {
                    const std::int64_t position = s.key_length - s.query_length + t;
                    const std::int64_t query = ((b * s.query_length + t) * s.heads + h) * s.key_width;
                    const std::int64_t result = ((b * s.query_length + t) * s.heads + h) * s.value_width;
                    const auto key_row = [&](std::int64_t k) {
                        return (b * s.key_length + k) * s.key_value_heads + h / s.group();
                    };
                    std::vector<double> weight(s.key_length, 0), slope(s.key_length, 1);
                    double sum = 0;
                    for (std::int64_t k = 0; k < s.key_length; ++k) {
                        if (!p.sees(b, h, t, k)) continue;
                        double score = 0;
                        for (std::int64_t d = 0; d < s.key_width; ++d) {
                            score +=
                                double(p.queries[query + d]) * double(p.keys[key_row(k) * s.key_width + d]);
                        }
                        score *= scale;
                        if (cap > 0) {
                            slope[k] = 1 - std::pow(std::tanh(score / cap), 2);
                            score = cap * std::tanh(score / cap);
                        }
                        if (p.options.alibi)
                            score -= tenon::alibi_slope(h, s.heads) * double(std::abs(position - k));
                        weight[k] = std::exp(score);
                        sum += weight[k];
                    }
                    log_sum_exp[(b * s.heads + h) * s.query_length + t] = std::log(sum);
                    if (sum == 0) continue;
                    double delta = 0;
                    std::vector<double> grad_weight(s.key_length, 0);
                    for (std::int64_t k = 0; k < s.key_length; ++k) {
                        weight[k] /= sum;
                        for (std::int64_t d = 0; d < s.value_width; ++d) {
                            const double value = p.values[key_row(k) * s.value_width + d];
                            const double gradient = p.grad_out[result + d];
                            out[result + d] += weight[k] * value;
                            grad_weight[k] += gradient * value;
                            grad_values[key_row(k) * s.value_width + d] += weight[k] * gradient;
                        }
                        delta += weight[k] * grad_weight[k];
                    }
                    for (std::int64_t k = 0; k < s.key_length; ++k) {
                        const double gradient = weight[k] * (grad_weight[k] - delta) * slope[k] * scale;
                        for (std::int64_t d = 0; d < s.key_width; ++d) {
                            grad_queries[query + d] += gradient * p.keys[key_row(k) * s.key_width + d];
                            grad_keys[key_row(k) * s.key_width + d] += gradient * p.queries[query + d];
                        }
                    }
                }
            }
        }
    }
};

template <class T>
double worst(const std::vector<T>& got, const std::vector<double>& expected, double offset = 0) {
    double error = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        if (double(got[i]) == expected[i] + offset) continue;
        const double difference =
            std::abs(double(got[i]) - expected[i] - offset) / (1 + std::abs(expected[i]));
        error = difference <= error ? error : difference;  // a NaN, too, becomes the error
    }
    return error;
}

template <class T>
void check(const AttentionShape& shape, const AttentionOptions& options, Masked masked = {}) {
    Problem<T> problem(shape, options, masked);
    const Reference<T> reference(problem);
    problem.forward();
    problem.backward();
    const double tolerance = 200 * double(std::numeric_limits<T>::epsilon());
    INFO("B", shape.batch, " H", shape.heads, "/", shape.key_value_heads, " T", shape.query_length, " S",
         shape.key_length, " D", shape.key_width, "/", shape.value_width, " causal ", options.causal,
         " window ", options.window, " cap ", options.soft_cap, " alibi ", options.alibi, " documents ",
         masked.documents, " lengths ", masked.lengths, " allowed ", masked.allowed);
    CHECK(worst(problem.out, reference.out) < tolerance);
    CHECK(worst(problem.log_sum_exp, reference.log_sum_exp) < tolerance);
    CHECK(worst(problem.grad_queries, reference.grad_queries) < tolerance);
    CHECK(worst(problem.grad_keys, reference.grad_keys) < tolerance);
    CHECK(worst(problem.grad_values, reference.grad_values) < tolerance);
    problem.grad_queries.assign(problem.grad_queries.size(), T(2));
    problem.grad_keys.assign(problem.grad_keys.size(), T(2));
    problem.grad_values.assign(problem.grad_values.size(), T(2));
    problem.backward(true);
    CHECK(worst(problem.grad_queries, reference.grad_queries, 2) < 2 * tolerance);
    CHECK(worst(problem.grad_keys, reference.grad_keys, 2) < 2 * tolerance);
    CHECK(worst(problem.grad_values, reference.grad_values, 2) < 2 * tolerance);
}

constexpr AttentionOptions causal{}, full{.causal = false};
constexpr Masked documents{.documents = true}, lengths{.lengths = true}, allowed{.allowed = true},
    all_masks{true, true, true};

}  // namespace

TEST_CASE_TEMPLATE("attention agrees with its definition for all kinds of sizes", T, float, double) {
    for (const std::int64_t time : {1, 2, 3, 5, 16, 33, 64, 65, 130}) {
        for (const AttentionOptions& options : {causal, full}) {
            check<T>({2, 2, 2, time, time, 32, 32}, options);
            check<T>({1, 2, 1, time, time, 7, 5}, options);
            check<T>({1, 1, 1, time, time, 50, 67}, options);
        }
    }
}

TEST_CASE_TEMPLATE("heads of a group share keys and values", T, float, double) {
    for (const std::int64_t time : {1, 3, 70}) {
        check<T>({2, 6, 2, time, time, 16, 16}, causal);
        check<T>({1, 15, 1, time, time, 16, 24}, causal);
    }
}

TEST_CASE_TEMPLATE("queries may be the last of more keys", T, float, double) {
    for (const std::int64_t time : {1, 2, 4, 5, 17, 64, 80}) {
        for (const std::int64_t before : {1, 31, 64, 150}) {
            check<T>({2, 4, 2, time, time + before, 16, 16}, causal);
            check<T>({1, 2, 2, time, time + before, 9, 16}, full);
            check<T>({1, 1, 1, time, time + before, 70, 100}, causal);
        }
    }
}

TEST_CASE_TEMPLATE("a window limits how far back a query looks", T, float, double) {
    for (const int window : {1, 2, 31, 64, 100, 1000}) {
        for (const std::int64_t time : {1, 4, 60, 200}) {
            check<T>({1, 2, 1, time, time + 20, 16, 16}, {.window = window});
        }
    }
    check<T>({1, 2, 1, 100, 120, 16, 16}, {.causal = false, .window = 30});
}

TEST_CASE_TEMPLATE("scores may be scaled and capped", T, float, double) {
    for (const std::int64_t time : {1, 3, 90}) {
        check<T>({2, 2, 1, time, time + 9, 16, 16}, {.scale = 0.3f});
        check<T>({2, 2, 1, time, time + 9, 16, 16}, {.soft_cap = 2});
        check<T>({2, 2, 1, time, time + 9, 16, 16}, {.causal = false, .scale = 0.3f, .soft_cap = 1.5f});
        check<T>({2, 2, 1, time, time + 9, 16, 16}, {.scale = 0.3f, .window = 20, .soft_cap = 1.5f},
                 documents);
    }
}

TEST_CASE_TEMPLATE("packed documents do not see each other", T, float, double) {
    for (const std::int64_t time : {1, 4, 70, 140}) {
        check<T>({3, 2, 1, time, time, 16, 16}, causal, documents);
        check<T>({3, 2, 2, time, time + 13, 16, 16}, causal, documents);
        check<T>({2, 2, 2, time, time, 16, 16}, {.window = 5}, documents);
    }
}

TEST_CASE_TEMPLATE("without a causal order queries and keys may differ in number", T, float, double) {
    for (const std::int64_t queries : {1, 3, 12, 100}) {
        for (const std::int64_t keys : {1, 2, 16, 70, 130}) {
            check<T>({2, 4, 2, queries, keys, 8, 12}, full);
            check<T>({2, 2, 1, queries, keys, 8, 8}, full, lengths);
        }
    }
}

TEST_CASE_TEMPLATE("with ALiBi scores fall with the distance", T, float, double) {
    for (const std::int64_t time : {1, 3, 70, 150}) {
        check<T>({2, 3, 1, time, time, 16, 16}, {.alibi = true});
        check<T>({1, 12, 4, time, time + 21, 7, 9}, {.alibi = true});
        check<T>({1, 2, 1, time, time + 70, 16, 16},
                 {.scale = 0.3f, .alibi = true, .window = 40, .soft_cap = 2});
        check<T>({1, 2, 2, time, 40, 16, 16}, {.causal = false, .alibi = true});
        check<T>({2, 6, 2, time, time, 16, 16}, {.alibi = true}, all_masks);
    }
}

TEST_CASE_TEMPLATE("keys beyond a sequence's length are padding", T, float, double) {
    for (const std::int64_t time : {1, 4, 70, 140}) {
        check<T>({4, 2, 1, time, time, 16, 16}, causal, lengths);
        check<T>({4, 2, 2, time, time + 13, 16, 16}, full, lengths);
        check<T>({3, 2, 2, time, time, 16, 16}, {.window = 5}, lengths);
        check<T>({3, 2, 2, time, time, 16, 16}, causal, {.documents = true, .lengths = true});
    }
}

TEST_CASE_TEMPLATE("padding is not read, whatever it holds", T, float, double) {
    for (const std::int64_t time : {1, 4, 70, 140}) {
        for (const AttentionOptions& options : {causal, full}) {
            Problem<T> problem({3, 2, 1, time, time, 16, 16}, options, lengths);
            const Reference<T> reference(problem);
            for (std::int64_t b = 0; b < 3; ++b) {
                const auto from = (b * time + problem.lengths[b]) * 16, to = (b + 1) * time * 16;
                std::fill(&problem.keys[from], problem.keys.data() + to, T(NAN));
                std::fill(&problem.values[from], problem.values.data() + to, T(NAN));
            }
            problem.forward();
            problem.backward();
            CHECK(worst(problem.out, reference.out) < 1e-4);
            CHECK(worst(problem.grad_queries, reference.grad_queries) < 1e-4);
            CHECK(worst(problem.grad_keys, reference.grad_keys) < 1e-4);
            CHECK(worst(problem.grad_values, reference.grad_values) < 1e-4);
        }
    }
}

TEST_CASE_TEMPLATE("an explicit mask allows what it allows, in all combinations", T, float, double) {
    for (const std::int64_t time : {1, 4, 21, 70, 200}) {
        check<T>({2, 3, 1, time, time, 16, 16}, full, allowed);
        check<T>({1, 4, 2, time, time + 9, 7, 9}, causal, allowed);
        check<T>({1, 2, 1, time, 150, 16, 16}, {.causal = false, .scale = 0.3f, .soft_cap = 2}, allowed);
        check<T>({3, 2, 1, time, time, 16, 16}, causal, all_masks);
        check<T>({3, 2, 2, time, time + 80, 16, 16}, {.alibi = true, .window = 90, .soft_cap = 2}, all_masks);
    }
}

TEST_CASE_TEMPLATE("a query that sees no key yields zeros, and zero gradients", T, float, double) {
    // The first queries have positions before the first key.
    for (const std::int64_t keys : {1, 2, 20, 70}) {
        check<T>({2, 2, 1, 3, keys, 8, 8}, causal);
        check<T>({2, 2, 1, 100, keys, 8, 8}, causal);
        check<T>({2, 2, 1, 100, keys, 8, 8}, causal, all_masks);
        check<T>({2, 2, 1, 3, keys, 8, 8}, full, lengths);
    }
    Problem<T> problem({1, 1, 1, 70, 2, 8, 8}, causal);
    problem.forward();
    problem.backward();
    for (int i = 0; i < 68 * 8; ++i) {
        REQUIRE(problem.out[i] == 0);
        REQUIRE(problem.grad_queries[i] == 0);
    }
    CHECK(problem.log_sum_exp[0] == -std::numeric_limits<T>::infinity());
}

TEST_CASE_TEMPLATE("large scores neither overflow nor lose the weights", T, float, double) {
    for (const std::int64_t time : {1, 40}) {
        Problem<T> problem({1, 1, 1, time, 40, 16, 16}, causal);
        for (T& number : problem.queries) number *= T(1e6);
        problem.forward();
        problem.backward();
        // With such scores a query takes the value of its best key alone.
        for (std::int64_t t = 0; t < time; ++t) {
            std::int64_t best = 0;
            double best_score = -1e30;
            for (std::int64_t k = 0; k <= 40 - time + t; ++k) {
                double score = 0;
                for (int d = 0; d < 16; ++d)
                    score += double(problem.queries[t * 16 + d]) * problem.keys[k * 16 + d];
                if (score > best_score) best = k, best_score = score;
            }
            for (int d = 0; d < 16; ++d) {
                REQUIRE(problem.out[t * 16 + d] == doctest::Approx(problem.values[best * 16 + d]));
            }
        }
        for (const T number : problem.grad_queries) REQUIRE(std::isfinite(number));
        for (const T number : problem.grad_keys) REQUIRE(std::isfinite(number));
    }
}

TEST_CASE("gradients agree with finite differences") {
    const AttentionShape shape{1, 4, 2, 9, 13, 5, 6};
    for (const AttentionOptions& options :
         {causal, full, AttentionOptions{.scale = 0.4f, .alibi = true, .window = 5, .soft_cap = 1.5f}}) {
        for (const Masked masked : {documents, all_masks}) {
            Problem<double> problem(shape, options, masked);
            problem.forward();
            problem.backward();
            const auto loss = [&] {
                problem.forward();
                double sum = 0;
                for (std::size_t i = 0; i < problem.out.size(); ++i)
                    sum += problem.out[i] * problem.grad_out[i];
                return sum;
            };
            const auto compare = [&](std::vector<double>& inputs, const std::vector<double>& gradients) {
                const double step = 1e-5;
                double error = 0;
                for (std::size_t i = 0; i < inputs.size(); ++i) {
                    const double before = inputs[i];
                    inputs[i] = before + step;
                    const double above = loss();
                    inputs[i] = before - step;
                    const double below = loss();
                    inputs[i] = before;
                    error = std::max(error, std::abs((above - below) / (2 * step) - gradients[i]));
                }
                CHECK(error < 1e-7);
            };
            compare(problem.queries, problem.grad_queries);
            compare(problem.keys, problem.grad_keys);
            compare(problem.values, problem.grad_values);
        }
    }
}

TEST_CASE_TEMPLATE("the result is the same to the last bit for any number of threads", T, float, double) {
    const int before = tenon::thread_count();
    for (const std::int64_t time : {1, 3, 200}) {
        for (const Masked masked : {Masked{}, all_masks}) {
            Problem<T> problem({2, 6, 2, time, time + 5, 16, 16}, {.alibi = masked.allowed}, masked);
            Problem<T> reference = problem;
            for (const int threads : {1, 2, 3, 8}) {
                tenon::set_thread_count(threads);
                problem.forward();
                problem.backward();
                if (threads == 1) reference = problem;
                const auto same = [](const std::vector<T>& a, const std::vector<T>& b) {
                    return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
                };
                CHECK(same(problem.out, reference.out));
                CHECK(same(problem.log_sum_exp, reference.log_sum_exp));
                CHECK(same(problem.grad_queries, reference.grad_queries));
                CHECK(same(problem.grad_keys, reference.grad_keys));
                CHECK(same(problem.grad_values, reference.grad_values));
            }
        }
    }
    tenon::set_thread_count(before);
}
