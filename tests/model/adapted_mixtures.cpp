#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/io/adapter_files.hpp>
#include <tenon/model/accounting.hpp>
#include <tenon/model/adapters.hpp>
#include <tenon/model/mixtral.hpp>
#include <tenon/model/transformer.hpp>
#include <tenon/nn/mixture_or_dense.hpp>
#include <tenon/training/trainer.hpp>

#include "../io/temporary_folder.hpp"
#include "../nn/model.hpp"
#include "adapted.hpp"

// Adapters elsewhere than at linear layers of blocks: at the matrices of experts, routers, the head and the
// embedding.

using namespace tenon;
using support::begin;
using support::Device;
using support::distance;
using support::logits_of;
using support::tokens;
using support::written_by;

namespace {

struct Mixture : support::Small {
    static constexpr int depth = 1;
    static constexpr bool mixture_of_experts = true;
    static constexpr int experts = 3, experts_per_token = 2;
};

struct PartlyDense : Mixture {
    static constexpr int depth = 2;
    static constexpr bool has_dense_layers = true, shared_expert = true;
    static constexpr int dense_hidden = 20, shared_hidden = 5;
    static constexpr LayerSet dense_layers = support::Latent::dense_layers;
};

/// Whose logits are more than a product, by the embedding.
struct Capped : support::Tied {
    static constexpr int depth = 1;
    static constexpr bool scaled_embedding = true;
    static constexpr double logit_scale = 0.7, logit_soft_cap = 2;
};

template <class C, Precision P = F64>
using Model = Transformer<C, Device, P, Adapted>;

const std::vector<std::string> everywhere{"all-linear", "head", "embedding"};

template <class M>
std::vector<std::string> layers_of(const Adapters<M>& adapters) {
    std::vector<std::string> layers;
    for (const auto& entry : adapters.entries()) layers.push_back(entry.layer);
    return layers;
}

}  // namespace

TEST_CASE_TEMPLATE("a model with adapters everywhere: gradients, merging, and what is written", C,
                   support::Latent, Capped) {
    Model<C> model(seed(1));
    const auto inputs = tokens(2, 5, 1), targets = tokens(2, 5, 4);
    const auto weights = support::all_elements(model);
    const auto without = logits_of(model, inputs);
    Adapters adapters(model, {.rank = 1, .alpha = 2, .targets = everywhere}, seed(2));
    CHECK(logits_of(model, inputs) == without);
    begin(adapters, 0.3);
    CHECK(support::worst_gradient_error_of(adapters, [&] { return cross_entropy(model(inputs), targets); }) <
          1e-6);
    for_each_parameter(model, [](std::string_view, ParameterBase& parameter) { CHECK(!parameter.gradient); });

    const auto apart = logits_of(model, inputs);
    CHECK(distance(apart, without) > 0.1);
    if constexpr (C::tied) {
        CHECK_THROWS_WITH_AS(adapters.merge(),
                             "adapters: expected a layer whose weight is its own to merge into, got the "
                             "embedding of a model whose head is the embedding",
                             Error);
        CHECK(support::all_elements(model) == weights);
        CHECK(logits_of(model, inputs) == apart);
    } else {
        adapters.merge();
        CHECK(distance(logits_of(model, inputs), apart) < 1e-12);
        const Transformer<C, Device, F64> plain(model);  // shares the merged weights
        CHECK(distance(support::values(plain(inputs).tensor()), apart) < 1e-12);
        adapters.unmerge();
        CHECK(distance(logits_of(model, inputs), apart) < 1e-12);
        CHECK(distance(support::all_elements(model), weights) < 1e-14);
    }
}

TEST_CASE("names of layers that are not linear ones of a block, the model's and the checkpoint's") {
    Model<Mixture> model(seed(1));
    const auto named = [&](std::vector<std::string> targets) {
        return layers_of(
            Adapters(model, {.rank = 1, .targets = std::move(targets)}, seed(2), Mixtral::names));
    };
    using Names = std::vector<std::string>;
    CHECK(named({"experts.gate_up_proj", "mlp.gate"}) ==
          Names{"blocks.0.feed_forward.router", "blocks.0.feed_forward.gate_up"});
    CHECK(named({"down_proj"}) == Names{"blocks.0.feed_forward.down"});
    CHECK(named({"lm_head"}) == Names{"head"});
    CHECK(named({"embed_tokens"}) == Names{"embedding"});
    const Names linear = named({"all-linear"});
    CHECK(linear.size() == 4 + 3);
    CHECK(std::none_of(linear.begin(), linear.end(),
                       [](const std::string& layer) { return layer == "head" || layer == "embedding"; }));

    const Adapters some(model, {.rank = 5, .targets = {"gate_up", "head", "embedding"}}, seed(2));
    CHECK(some.find("blocks.0.feed_forward.gate_up")->a->extents == Extents(3, 5, 8));
    CHECK(some.find("blocks.0.feed_forward.gate_up")->b->extents == Extents(3, 2 * 12, 5));
    CHECK(some.find("head")->b->extents == Extents(11, 5));
    CHECK(some.find("embedding")->a->extents == Extents(5, 8));
    CHECK(some.find("blocks.0.feed_forward.down") == nullptr);
}

TEST_CASE("lazy logits with an adapter are the same by the position, all at once, and in a loss") {
    Model<Capped> model(seed(1));
    Adapters adapters(model, {.rank = 3, .targets = {"head"}}, seed(2));
    begin(adapters, 0.3);
    const auto inputs = tokens(3, 5, 1), targets = tokens(3, 5, 4);
    const auto gradients = [&](const auto& loss) {
        support::clear_gradients(adapters);
        backward(loss);
        std::vector<double> result = support::all_gradients(adapters);
        result.push_back(static_cast<double>(loss.item()));
        return result;
    };
    const CrossEntropyOptions options{.ignore = 4, .label_smoothing = 0.1, .z_loss = 0.01};
    CHECK(distance(gradients(cross_entropy(model(inputs), targets, options)),
                   gradients(cross_entropy(model(inputs).tensor(), targets, options))) < 1e-12);
    const auto all = logits_of(model, inputs);
    const Tape::Pause pause(Tape::current());
    CHECK(distance(support::values(token_losses(model(inputs), targets)),
                   support::values(token_losses(model(inputs).tensor(), targets))) < 1e-12);
    const auto last = support::values(detach(model(inputs).last().tensor()));
    for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t j = 0; j < 11; ++j)
            CHECK(last[i * 11 + j] == doctest::Approx(all[(i * 5 + 4) * 11 + j]).epsilon(1e-12));
}

TEST_CASE("adapters everywhere are trained in mixed precision, routers' as the optimizer keeps them") {
    Model<Mixture, MixedBf16> model(seed(1));
    Adapters adapters(model, {.rank = 4, .targets = everywhere, .dropout = 0.1}, seed(2));
    CHECK(adapters.find("blocks.0.feed_forward.router")->a->type == ElementType::f32);
    CHECK(adapters.find("blocks.0.feed_forward.down")->a->type == ElementType::bf16);
    AdamW optimizer{adapters, {.rate = 0.02}};
    const auto inputs = tokens(4, 8, 1), targets = tokens(4, 8, 4);
    std::vector<double> losses;
    for (std::uint64_t step = 0; step < 30; ++step) {
        auto loss = cross_entropy(model(inputs, DropoutKey{seed(3), step}), targets);
        losses.push_back(static_cast<double>(loss.item()));
        backward(loss);
        optimizer.step();
    }
    CHECK(losses.back() < 0.7 * losses.front());
    const auto apart = logits_of(model, inputs);
    adapters.merge();
    CHECK(distance(logits_of(model, inputs), apart) < 0.1 * *std::max_element(apart.begin(), apart.end()));
}

TEST_CASE("adapters of mixtures of experts take the memory that accounting says") {
    const auto check = []<class M>(std::type_identity<M>) {
        M model;
        Adapters adapters(model, {.rank = 4, .targets = {"all-linear", "head"}}, seed(1));
        std::int64_t count = 0, bytes = 0;
        const auto add = [&](ParameterBase& parameter) {
            bytes += parameter.size() * static_cast<std::int64_t>(size_of(parameter.type));
        };
        for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) { add(parameter); });
        for_each_parameter(adapters, [&](std::string_view, ParameterBase& parameter) {
            count += parameter.size();
            add(parameter);
        });
        AdaptedLayers layers = AdaptedLayers::all(4);
        layers.head = true;
        const TrainingMemory expected = training_memory<M>({.adapters = layers});
        CHECK(expected.parameters == bytes);
        CHECK(expected.optimizer == 2 * static_cast<std::int64_t>(sizeof(typename M::Gradient)) * count);
    };
    check(std::type_identity<Model<Mixture, F64>>());
    check(std::type_identity<Model<PartlyDense, MixedBf16>>());
}

TEST_CASE("a model with adapters everywhere writes the same merged and apart") {
    Model<Mixture> model(seed(1));
    const auto without = written_by(model);
    Adapters adapters(model, {.rank = 2, .alpha = 9, .targets = everywhere}, seed(2));
    begin(adapters, 0.3);
    const auto with = written_by(model);
    CHECK(with != without);
    adapters.merge();
    CHECK(written_by(Transformer<Mixture, Device, F64>(model)) == with);
}

namespace {

const support::AdapterFixture<Mixtral> fixture{
    (std::filesystem::path(__FILE__).parent_path() / "lora/mixture").string()};

using Loaded = Transformer<DynamicTransformer<Mixtral::Features>, Device, F64, Adapted>;

}  // namespace

TEST_CASE("adapters of PEFT's form give PEFT's logits: of the tensors of all experts, or of each expert") {
    const auto ids = fixture.ids();
    auto model = fixture.load<Loaded>();
    CHECK(distance(logits_of(model, ids), fixture.reference("without")) < 1e-5);
    for (const std::string form : {"joined", "numbered"}) {
        const Adapters adapters = load_adapters(model, fixture.folder + "/" + form, Mixtral::names);
        CHECK(adapters.entries().size() == (form == "joined" ? 2 * 4 + 2 : 2 * 3));
        CHECK(adapters.find("blocks.1.feed_forward.gate_up")->rank() == (form == "joined" ? 2 : 4));
        CHECK(distance(logits_of(model, ids), fixture.reference(form)) < 1e-5);
    }
}

TEST_CASE("adapters everywhere are written as PEFT reads them, and read again") {
    const auto ids = fixture.ids();
    auto model = fixture.load<Loaded>();
    for (const std::string form : {"joined", "numbered"}) {
        Adapters adapters = load_adapters(model, fixture.folder + "/" + form, Mixtral::names);
        const auto logits = logits_of(model, ids);
        const TemporaryFolder folder;
        save_adapters(adapters, model, folder.path(), Mixtral::names);
        const Safetensors file = Safetensors::open(folder / "adapter_model.safetensors");
        const bool is_joined = form == "joined";
        CHECK(file.size() == (is_joined ? 2u * (2 * 4 + 2) : 2u * 2 * 3));
        const std::string experts = "base_model.model.model.layers.1.mlp.experts.";
        using Extents = std::vector<std::int64_t>;
        const std::int64_t rank = is_joined ? 2 : 4;
        CHECK(file.at(experts + "base_layer.lora_A.weight").shape == Extents{3 * rank, 8});
        CHECK(file.at(experts + "base_layer.lora_B.weight").shape == Extents{12, 3 * rank});
        CHECK(file.at(experts + "lora_A.weight").shape == Extents{3 * 2, 6});
        const std::string config = read_file(folder / "adapter_config.json");
        CHECK(config.find("\"target_parameters\": [\"gate.weight\", \"gate_up_proj\", \"down_proj\"]") !=
              config.npos);
        if (is_joined)
            CHECK(config.find("\"target_modules\": [\"q_proj\", \"embed_tokens\", \"lm_head\"]") !=
                  config.npos);
        else
            CHECK(config.find("layers.1.mlp.experts.gate_up_proj\": 4") != config.npos);
        auto other = fixture.load<Loaded>();
        const Adapters again = load_adapters(other, folder.path(), Mixtral::names);
        CHECK(distance(logits_of(other, ids), logits) < 1e-12);
    }
}

TEST_CASE("one of two tensors of experts is adapted, and told by the configuration") {
    const auto ids = fixture.ids();
    for (const std::string target : {"gate_up", "down"}) {
        auto model = fixture.load<Loaded>(), other = fixture.load<Loaded>();
        Adapters adapters(model, {.rank = 2, .targets = {"feed_forward." + target}}, seed(2));
        begin(adapters, 0.3);
        const TemporaryFolder folder;
        save_adapters(adapters, model, folder.path(), Mixtral::names);
        const Adapters again = load_adapters(other, folder.path(), Mixtral::names);
        REQUIRE(layers_of(again) == layers_of(adapters));
        CHECK(logits_of(other, ids) == logits_of(model, ids));
    }
}

TEST_CASE("what is wrong with adapters of experts is named") {
    auto model = fixture.load<Loaded>();
    const auto message = [&](const std::string& form, const std::string& from, const std::string& to) {
        return fixture.message(model, "/" + form, from, to);
    };
    CHECK(message("joined", "\"r\": 2", "\"r\": 3")
              .find("layers.0.mlp.experts.base_layer.lora_A.weight: expected shape [9, 8], got [6, 8]") !=
          std::string::npos);
    CHECK(message("numbered", "\"r\": 2", "\"r\": 3")
              .find("experts.2.w3.lora_B.weight: expected shape [6, 3], got [6, 2]") != std::string::npos);
    CHECK(message("joined", "\"rank_pattern\": {}", R"("rank_pattern": {".*\\.gate_up_proj": 3})")
              .find("layers.1.mlp.experts.base_layer.lora_B.weight: expected shape [12, 9], got [12, 6]") !=
          std::string::npos);
    // Before anything takes memory.
    CHECK(message("joined", "\"r\": 2", "\"r\": 50000000")
              .find("experts.lora_B.weight: expected shape [8, 150000000], got [8, 6]") != std::string::npos);
    CHECK(message("joined", "\"r\": 2", "\"r\": 1000000000")
              .find("q_proj: expected a rank of at most 268435455, got 1000000000") != std::string::npos);
    CHECK(message("joined", "\"target_parameters\": [", "\"target_parameters\": [7, ")
              .find("target_parameters.0: expected a text, got 7") != std::string::npos);
}
