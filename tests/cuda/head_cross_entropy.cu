// Cross-entropy with the head's product on GPUs of sm_90a, in bf16: a product that writes exponentials, not
// logits.

#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/cuda.hpp>

#include "../support.hpp"

using namespace tenon;
using support::numbers;
using support::same_bits;

namespace {

using Matrix = Tensor<bf16, Shape<dyn, dyn>, Cuda>;
using Targets = Tensor<int, Shape<dyn>, Cuda>;

constexpr double bound = support::error_of_steps<bf16>;

/// Hidden states [rows, width], a head [vocabulary, width] and targets.
struct Problem {
    Matrix hidden, head;
    Targets targets;

    Problem(int rows, int vocabulary, int width, double scale = 1)
        : hidden(scaled(1, rows, width, scale)),
          head(scaled(2, vocabulary, width, 1)),
          targets(to_device<Cuda>(some(rows, vocabulary))) {}

    /// Whether the kernels that are tested here are those that run.
    bool is_fused() const {
        return cuda::HeadExponentials<bf16>::fits(hidden.data(), hidden.extents()[0], head.data(),
                                                  head.extents()[0], head.extents()[1], {});
    }

private:
    static Matrix scaled(std::uint32_t seed, int rows, int columns, double scale) {
        return cast<bf16>(Tensor(numbers<float, Shape<dyn, dyn>>(seed, rows, columns) * scale));
    }
    static Tensor<int, Shape<dyn>> some(int rows, int vocabulary) {
        auto targets = Tensor<int, Shape<dyn>>::uninitialized(rows);
        for (int i = 0; i < rows; ++i) targets(i) = static_cast<int>(std::int64_t{i} * 7919 % vocabulary);
        return targets;
    }
};

/// The loss, and the gradients of `factor` times it.
template <class T, class G>
struct Result {
    float loss;
    Tensor<G, Shape<dyn, dyn>, Cuda> hidden, head;
};

template <class T>
auto result_of(const Problem& problem, const CrossEntropyOptions& options = {}) {
    const Parameter hidden(cast<T>(problem.hidden)), head(cast<T>(problem.head));
    const auto loss = cross_entropy(Logits(hidden.tensor(), head.tensor()), problem.targets, options);
    backward(loss);
    using G = ComputeOf<T>;
    return Result<T, G>{static_cast<float>(loss.item()), hidden.accumulated_gradient(),
                        head.accumulated_gradient()};
}

/// Relative errors: of the loss, and of gradients.
struct Tolerance {
    double loss = 1e-5, gradients = bound;
};

/// Compares with f64, whose loss it returns.
double check(const Problem& problem, const CrossEntropyOptions& options = {}, Tolerance tolerance = {}) {
    REQUIRE(problem.is_fused());
    const auto exact = result_of<double>(problem, options);
    const auto own = result_of<bf16>(problem, options);
    CHECK(own.loss == doctest::Approx(exact.loss).epsilon(tolerance.loss));
    CHECK(relative_error(cast<double>(own.hidden), exact.hidden) < tolerance.gradients);
    CHECK(relative_error(cast<double>(own.head), exact.head) < tolerance.gradients);
    return exact.loss;
}

/// Sets how many bytes of exponentials are in memory at once.
class ChunkBytes {
public:
    explicit ChunkBytes(std::int64_t bytes) { CrossEntropy::gpu_chunk_bytes = bytes; }
    ChunkBytes(const ChunkBytes&) = delete;
    ChunkBytes& operator=(const ChunkBytes&) = delete;
    ~ChunkBytes() { CrossEntropy::gpu_chunk_bytes = before_; }

private:
    std::int64_t before_ = CrossEntropy::gpu_chunk_bytes;
};

/// Tests of kernels that other GPUs don't have pass there, and say so.
bool is_missing() {
    if (cuda::can_multiply_tiles<cuda::Exponentials>()) return false;
    MESSAGE("skipped: the GPU is not of sm_90a");
    return true;
}

}  // namespace

TEST_CASE("the loss and its gradients, for extents that fill tiles and others") {
    if (is_missing()) return;
    for (const auto& [rows, vocabulary, width] :
         {std::array{256, 512, 128}, std::array{64, 256, 64}, std::array{300, 1000, 72},
          std::array{1030, 2056, 200}, std::array{4100, 5000, 64}}) {
        INFO(rows, " x ", vocabulary, " x ", width);
        check(Problem(rows, vocabulary, width));
    }
}

TEST_CASE("chunks of positions give what all at once give") {
    if (is_missing()) return;
    const ChunkBytes chunk(3 << 20);
    check(Problem(1100, 3000, 64));
}

TEST_CASE("targets that are all but certain: 1 less their probability keeps its digits") {
    if (is_missing()) return;
    Problem problem(512, 512, 64, 1);
    // Each state is four times its target's word, whose logit is some 80 and that of others within ± 20.
    problem.hidden = cast<bf16>(Tensor(4 * cast<float>(embedding(problem.head, problem.targets))));
    const double loss = check(problem, {}, {.loss = 1e-3, .gradients = 4 * bound});
    CHECK(loss < 1e-7);
}

TEST_CASE("targets so unlikely that exponentials overflow are computed again") {
    if (is_missing()) return;
    for (const double scale : {10.0, 100.0}) {
        INFO("scale ", scale);
        // Logits of hundreds have fewer digits behind the point.
        const double loss = check(Problem(700, 1000, 64, scale), {}, {.gradients = 2 * bound});
        CHECK(loss > 5 * scale);
    }
}

TEST_CASE("positions that do not count have no part, whatever their logits") {
    if (is_missing()) return;
    Problem problem(600, 1000, 64, 100);
    auto targets = to_device<Cpu>(problem.targets);
    for (int i = 0; i < 600; ++i)
        if (i % 3 > 0) targets(i) = -7;
    problem.targets = to_device<Cuda>(targets);
    check(problem, {.ignore = -7});
    problem.targets = Targets::filled(-7, 600);
    const auto own = result_of<bf16>(problem, {.ignore = -7});
    CHECK(own.loss == 0);
    CHECK(support::values(own.hidden) == std::vector<double>(600 * 64));
    CHECK(support::values(own.head) == std::vector<double>(1000 * 64));
}

TEST_CASE("losses at positions, without gradients") {
    if (is_missing()) return;
    const Problem problem(300, 1000, 72, 3);
    const auto own = token_losses(Logits(problem.hidden, problem.head), problem.targets);
    const auto exact =
        token_losses(Logits(cast<double>(problem.hidden), cast<double>(problem.head)), problem.targets);
    CHECK(relative_error(cast<double>(own), exact) < 1e-5);
}

TEST_CASE("one side alone may want a gradient, in bf16 too, and gradients add up") {
    if (is_missing()) return;
    const Problem problem(300, 1000, 72);
    const auto exact = result_of<double>(problem);
    const Parameter head(problem.head), hidden(problem.hidden);
    backward(cross_entropy(Logits(problem.hidden, head.tensor()), problem.targets));
    CHECK(relative_error(cast<double>(head.accumulated_gradient()), exact.head) < bound);
    backward(cross_entropy(Logits(hidden.tensor(), problem.head), problem.targets));
    CHECK(relative_error(cast<double>(hidden.accumulated_gradient()), exact.hidden) < bound);
    // Doubled on its way, hidden states have a gradient of their own type between.
    const Tensor doubled = hidden.tensor() + hidden.tensor();
    const Tensor half = doubled * 0.5f;
    backward(cross_entropy(Logits(half, head.tensor()), problem.targets));
    CHECK(relative_error(cast<double>(head.accumulated_gradient()), Tensor(2 * exact.head)) < bound);
    CHECK(relative_error(cast<double>(hidden.accumulated_gradient()), Tensor(2 * exact.hidden)) < bound);
}

TEST_CASE("two runs have the same bits, and so has a replayed graph") {
    if (is_missing()) return;
    const ChunkBytes chunk(3 << 20);
    const Problem problem(1100, 3000, 64, 20);
    const auto once = result_of<bf16>(problem), again = result_of<bf16>(problem);
    CHECK(once.loss == again.loss);
    CHECK(same_bits(once.hidden, again.hidden));
    CHECK(same_bits(once.head, again.head));

    const auto losses_of = [&] {
        return token_losses(Logits(problem.hidden, problem.head), problem.targets);
    };
    const auto losses = losses_of(), captured = losses_of();
    Memory<Cuda>::fill(captured.data(), captured.size(), -1.0f);
    cuda::Graph graph;
    graph.capture([&] { copy_to(captured, losses_of()); });
    graph.replay();
    CHECK(same_bits(captured, losses));
}
