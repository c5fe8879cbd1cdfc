#include <doctest/doctest.h>

#include <tenon/model/accounting.hpp>
#include <tenon/model/adapters.hpp>
#include <tenon/model/gpt2.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;

namespace {

// Powers of two, so that the pool rounds nothing up.
struct Small : TransformerDefaults {
    static constexpr int vocabulary = 512, context = 64, width = 128, depth = 3, heads = 4, hidden = 512;
};
struct Gpt2Like : Gpt2::Features {
    static constexpr int vocabulary = 512, context = 64, width = 128, depth = 3, heads = 4, hidden = 512;
};
struct Parallel : Small {
    static constexpr bool parallel = true;
};
struct Post : Small {
    static constexpr NormPlacement placement = NormPlacement::post;
};
struct Output : Small {
    static constexpr NormPlacement placement = NormPlacement::output;
};
struct Both : Small {
    static constexpr NormPlacement placement = NormPlacement::both;
    static constexpr QueryKeyNorm query_key_norm = QueryKeyNorm::head;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::geglu;
};
struct Bare : Small {
    static constexpr NormKind norm = NormKind::none;
    static constexpr Positions positions = Positions::alibi;
    static constexpr int key_value_heads = 2;
    static constexpr bool tied = true;
    static constexpr FeedForwardKind feed_forward = FeedForwardKind::squared_relu;
};

struct Recomputed : Small {
    static constexpr bool recompute = true;
};

struct Huge : TransformerDefaults {
    static constexpr int vocabulary = 128'256, context = 1 << 20, width = 8192, depth = 80, heads = 64,
                         key_value_heads = 8, hidden = 28'672;
};

template <class C>
std::int64_t counted() {
    Transformer<C, Device> model;
    std::int64_t count = 0;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) { count += parameter.size(); });
    return count;
}

/// What the pool holds between the forward and the backward pass, over what accounting expects.
/// A GPU's blocks are whole multiples of 512 bytes, and its norms keep two numbers a row.
constexpr double memory_bound = std::same_as<Device, Cuda> ? 0.01 : 0.001;

template <class C>
double kept_over_expected() {
    constexpr int batch = 4;
    Trainable<Transformer<C, Device>> model{seed(1)};
    const auto ids = Tensor<int, Shape<batch, C::context>, Device>::filled(3);
    // From here on gradients have their memory.
    backward(cross_entropy(model(ids), ids));
    support::clear_gradients(model);
    const std::size_t before = Memory<Device>::used_bytes();
    const auto loss = cross_entropy(model(ids), ids);
    const double kept = static_cast<double>(Memory<Device>::used_bytes() - before);
    constexpr TrainingMemory expected = training_memory<Transformer<C, Device>>({.batch = batch});
    return kept / static_cast<double>(expected.activations);
}

/// The same of a model whose adapters are trained.
template <class C, class Targets>
double kept_with_adapters(const Targets& targets, const AdaptedLayers& layers) {
    constexpr int batch = 4;
    Transformer<C, Device, F32, Adapted> model(seed(1));
    Adapters adapters(model, {.rank = layers.rank, .targets = targets, .dropout = layers.dropout ? 0.1 : 0.0},
                      seed(2));
    const auto ids = Tensor<int, Shape<batch, C::context>, Device>::filled(3);
    const auto pass = [&] { return cross_entropy(model(ids, DropoutKey{seed(3)}), ids); };
    backward(pass());
    support::clear_gradients(adapters);
    const std::size_t before = Memory<Device>::used_bytes();
    const auto loss = pass();
    const double kept = static_cast<double>(Memory<Device>::used_bytes() - before);
    std::int64_t count = 0;
    for_each_parameter(adapters,
                       [&](std::string_view, ParameterBase& parameter) { count += parameter.size(); });
    const TrainingMemory expected =
        training_memory<Transformer<C, Device>>({.batch = batch, .adapters = layers});
    CHECK(expected.gradients == count * 4);
    CHECK(expected.optimizer == 2 * count * 4);
    CHECK(expected.parameters == (parameter_count<Transformer<C, Device>>() + count) * 4);
    return kept / static_cast<double>(expected.activations);
}

/// Bytes that the parameters of a model take, by a walk.
template <class Model>
std::int64_t bytes_of_parameters() {
    Model model;
    std::int64_t bytes = 0;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        bytes += parameter.size() * static_cast<std::int64_t>(size_of(parameter.type));
    });
    return bytes;
}

}  // namespace

TEST_CASE("parameters are counted without a model") {
    CHECK(parameter_count<Transformer<Small, Device>>() == counted<Small>());
    CHECK(parameter_count<Transformer<Gpt2Like, Device>>() == counted<Gpt2Like>());
    CHECK(parameter_count<Transformer<Both, Device>>() == counted<Both>());
    CHECK(parameter_count<Transformer<Post, Device>>() == counted<Post>());
    CHECK(parameter_count<Transformer<Bare, Device>>() == counted<Bare>());
}

TEST_CASE("parameters take the memory that accounting says, norms' in mixed precision, too") {
    const auto check = []<class Model>(std::type_identity<Model>) {
        CHECK(bytes_of_parameters<Model>() == training_memory<Model>({}).parameters);
    };
    check(std::type_identity<Transformer<Small, Device, MixedBf16>>());
    check(std::type_identity<Transformer<Gpt2Like, Device, MixedBf16>>());
    check(std::type_identity<Transformer<Both, Device, MixedBf16>>());
    check(std::type_identity<Transformer<Post, Device, PureBf16>>());
    check(std::type_identity<Transformer<Bare, Device, MixedF16>>());
}

TEST_CASE("activations take the memory that accounting says") {
    CHECK(kept_over_expected<Small>() == doctest::Approx(1).epsilon(memory_bound));
    CHECK(kept_over_expected<Gpt2Like>() == doctest::Approx(1).epsilon(memory_bound));
    CHECK(kept_over_expected<Parallel>() == doctest::Approx(1).epsilon(memory_bound));
    CHECK(kept_over_expected<Post>() == doctest::Approx(1).epsilon(memory_bound));
    CHECK(kept_over_expected<Output>() == doctest::Approx(1).epsilon(memory_bound));
    CHECK(kept_over_expected<Both>() == doctest::Approx(1).epsilon(memory_bound));
    CHECK(kept_over_expected<Bare>() == doctest::Approx(1).epsilon(memory_bound));
    CHECK(kept_over_expected<Recomputed>() == doctest::Approx(1).epsilon(memory_bound));
}

TEST_CASE("a step that trains adapters takes the memory that accounting says") {
    using Names = std::vector<std::string>;
    CHECK(kept_with_adapters<Small>(Names{"all-linear"}, AdaptedLayers::all(8)) ==
          doctest::Approx(1).epsilon(memory_bound));
    CHECK(kept_with_adapters<Small>(Names{"query", "value"}, {.rank = 8}) ==
          doctest::Approx(1).epsilon(memory_bound));
    AdaptedLayers dropping = AdaptedLayers::all(8);
    dropping.dropout = true;
    CHECK(kept_with_adapters<Small>(Names{"all-linear"}, dropping) ==
          doctest::Approx(1).epsilon(memory_bound));
    CHECK(kept_with_adapters<Gpt2Like>(
              Names{"attention.output", "down"},
              {.rank = 4, .query = false, .value = false, .output = true, .down = true}) ==
          doctest::Approx(1).epsilon(memory_bound));
    AdaptedLayers everywhere = AdaptedLayers::all(8);
    everywhere.embedding = everywhere.head = true;
    for (const bool dropout : {false, true}) {
        everywhere.dropout = dropout;
        CHECK(kept_with_adapters<Small>(Names{"all-linear", "embedding", "head"}, everywhere) ==
              doctest::Approx(1).epsilon(memory_bound));
    }
    static_assert(
        training_memory<Transformer<Huge, Device, MixedBf16>>({.time = 1, .adapters = AdaptedLayers::all(16)})
            .master == 16 * 80LL * (2 * 2 * 8192 + 2 * (8192 + 1024) + 3 * (8192 + 28'672)) * 4);
}

TEST_CASE("blocks that are computed again have the same loss and gradients") {
    Trainable<Transformer<Small, Device>> kept{seed(1)};
    Trainable<Transformer<Recomputed, Device>> recomputed{seed(1)};
    const auto ids = Tensor<int, Shape<2, 5>, Device>::of({3, 1, 4, 1, 5, 9, 2, 6, 5, 3});
    const auto a = cross_entropy(kept(ids), ids);
    backward(a);
    const auto b = cross_entropy(recomputed(ids), ids);
    backward(b);
    CHECK(a.item() == b.item());
    CHECK(kept.embedding.accumulated_gradient() == recomputed.embedding.accumulated_gradient());
    CHECK(kept.blocks[1].attention.query.weight.accumulated_gradient() ==
          recomputed.blocks[1].attention.query.weight.accumulated_gradient());
    CHECK(max(kept.blocks[1].attention.query.weight.accumulated_gradient()).item() > 0);
}

TEST_CASE("floating-point operations are those of the products") {
    using Model = Transformer<Small, Device>;
    // 128 wide: four products with 128 x 128 and three with 128 x 512, two operations an element, three
    // layers.
    static_assert(forward_flops<Model>().projections == 3 * 2 * 4 * 128 * 128);
    static_assert(forward_flops<Model>().feed_forward == 3 * 2 * 3 * 128 * 512);
    static_assert(forward_flops<Model>().scores == 3 * 2 * 2 * 64 * 128);
    static_assert(forward_flops<Model>(16).scores == 3 * 2 * 2 * 16 * 128);
    static_assert(forward_flops<Model>().head == 2 * 128 * 512);
    // A window spares the layers that have it.
    constexpr auto windowed = [] {
        TransformerSizes sizes = sizes_of<Small>();
        sizes.window = 16;
        sizes.windowless_layers.insert(1);
        return sizes;
    }();
    static_assert(forward_flops<Small>(windowed).scores == 2 * 2 * (16 + 64 + 16) * 128);
    static_assert(training_flops<Model>().total() == 3 * forward_flops<Model>().total());
    // As PyTorch and the PaLM paper count: 6 a parameter, and 12 · layers · width · time.
    constexpr double matrices = parameter_count<Model>() - 512 * 128 - 7 * 128;
    static_assert(training_flops<Model>().total() == 6 * matrices + 12 * 3 * 128 * 64);
    CHECK(model_flops_utilization(training_flops<Model>().total(), 1e6, 1e13) ==
          doctest::Approx(training_flops<Model>().total() / 1e7));
}

TEST_CASE("memory adds up, and says what fits") {
    using Model = Transformer<Small, Device>;
    constexpr TrainingMemory memory = training_memory<Model>({.batch = 2, .time = 32});
    constexpr std::int64_t count = parameter_count<Model>();
    static_assert(memory.parameters == 4 * count && memory.gradients == 4 * count &&
                  memory.optimizer == 8 * count && memory.master == 0);
    static_assert(memory.activations == training_memory<Model>({.batch = 1}).activations);
    static_assert(training_memory<Model>({.recompute = true}).activations < memory.activations);
    static_assert(training_memory<Transformer<Small, Device, F64>>({}).total() ==
                  2 * training_memory<Model>({}).total());
    // Norms are kept in 32 bits, once.
    constexpr TrainingMemory mixed = training_memory<Transformer<Small, Device, MixedBf16>>({});
    constexpr std::int64_t norms = norm_parameter_count<Small>(sizes_of<Small>());
    static_assert(norms == 7 * 128 && mixed.parameters == 2 * count + 2 * norms &&
                  mixed.master == 4 * (count - norms));
    constexpr int most = largest_batch<Model>(64_MiB);
    static_assert(fits_in<Model, 64_MiB>({.batch = most}) && !fits_in<Model, 64_MiB>({.batch = most + 1}));
    CHECK(largest_batch<Model>(1_KiB) == 0);

    // Beyond 64 bits nothing fits.
    static_assert(!fits_in<Transformer<Huge, Device>, 80_GiB>({.batch = 1 << 20}));
    static_assert(largest_batch<Transformer<Huge, Device>>(80_GiB) == 0);
}
