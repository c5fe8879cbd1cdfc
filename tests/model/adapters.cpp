#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/io/adapter_files.hpp>
#include <tenon/io/save_checkpoint.hpp>
#include <tenon/model/adapters.hpp>
#include <tenon/model/llama.hpp>
#include <tenon/model/phi3.hpp>
#include <tenon/model/transformer.hpp>
#include <tenon/training/checkpoints.hpp>

#include "../io/temporary_folder.hpp"
#include "../nn/model.hpp"
#include "adapted.hpp"

using namespace tenon;
using support::begin;
using support::Device;
using support::distance;
using support::logits_of;
using support::tokens;
using support::written_by;

namespace {

using Model = Transformer<support::Small, Device, F64, Adapted>;
using Plain = Transformer<support::Small, Device, F64>;

struct Recomputed : support::Small {
    static constexpr bool recompute = true;
};

}  // namespace

TEST_CASE("adapters that are new change nothing; each is at the layers that its targets name") {
    Model model(seed(1));
    const auto ids = tokens(2, 5, 1);
    const auto before = logits_of(model, ids);
    {
        const Adapters some(model, {.rank = 2, .targets = {"query", "attention.value"}}, seed(2));
        REQUIRE(some.entries().size() == 4);
        CHECK(some.entries()[1].layer == "blocks.0.attention.value");
        CHECK(logits_of(model, ids) == before);
        CHECK_THROWS_WITH_AS((Adapters(model, {.targets = {"query"}}, seed(2))),
                             "adapters: expected a layer without an adapter, got blocks.0.attention.query",
                             Error);
    }
    const Adapters one(model, {.targets = {"layers.1.mlp.down_proj"}}, seed(2), llama_names);
    REQUIRE(one.entries().size() == 1);
    CHECK(one.entries()[0].layer == "blocks.1.feed_forward.down");
    CHECK_THROWS_WITH_AS((Adapters(model, {.targets = {"up", "q_prj"}}, seed(2), llama_names)),
                         "adapters: expected the name of a layer or its end, got \"q_prj\"", Error);
    CHECK_NOTHROW((Adapters(model, {.targets = {"up"}}, seed(2))));  // nothing is left of those
    CHECK_THROWS_WITH_AS((Adapters(model, {.rank = 0}, seed(2))),
                         "adapters: expected a rank of at least 1 and a finite alpha, got 0 and 16.000000",
                         Error);
}

TEST_CASE("the gradient of the loss for every adapter, the model's parameters having none") {
    for (const bool all : {false, true}) {
        Model model(seed(1));
        Adapters adapters(model, {.rank = 2, .targets = {all ? "all-linear" : "value"}}, seed(2));
        begin(adapters);
        const auto inputs = tokens(2, 5, 1), targets = tokens(2, 5, 4);
        CHECK(support::worst_gradient_error_of(adapters,
                                               [&] { return cross_entropy(model(inputs), targets); }) < 1e-6);
    }
}

TEST_CASE("merged into the weights, adapters compute the same; taken off, the weights are as before") {
    Model model(seed(1));
    const auto ids = tokens(2, 5, 1);
    const auto weights = support::all_elements(model);
    const auto without = logits_of(model, ids);
    Adapters adapters(model, {.rank = 2, .alpha = 3, .rank_stabilized = true, .targets = {"all-linear"}},
                      seed(2));
    CHECK(adapters.options().scale() == 3 / std::sqrt(2.0));
    begin(adapters);
    const auto apart = logits_of(model, ids);
    CHECK(distance(apart, without) > 0.1);
    adapters.merge();
    CHECK(distance(logits_of(model, ids), apart) < 1e-12);
    const Plain plain(model);  // shares the merged weights
    CHECK(distance(support::values(plain(ids).tensor()), apart) < 1e-12);
    adapters.unmerge();
    CHECK(distance(logits_of(model, ids), apart) < 1e-12);
    CHECK(distance(support::all_elements(model), weights) < 1e-14);
}

TEST_CASE("what an adapter reads drops out in passes of training, by the key's step and each by itself") {
    Model model(seed(1));
    // A and B that leave what they read as it is.
    Adapters adapters(
        model, {.rank = 8, .alpha = 8, .targets = {"attention.query", "attention.output"}, .dropout = 0.25},
        seed(2));
    for (const auto& entry : adapters.entries())
        for (ParameterBase* matrix : {entry.a, entry.b})
            write_elements<double, Device>(*matrix, [](double* to) {
                for (int i = 0; i < 64; ++i) to[i] = i % 9 == 0;
            });
    const auto ones =
        Model::Setting::entering(Tensor<double, Shape<dyn, dyn, 8>, Device>::filled(1.0, 10, 10));
    const auto read_by = [&](const auto& layer, std::uint64_t step) {
        const Tape::Pause pause(Tape::current());
        const auto without = support::values(detach(layer(ones)));
        const TrainingPass pass(DropoutKey{seed(3), step});
        auto with = support::values(detach(layer(ones)));
        for (std::size_t i = 0; i < with.size(); ++i) with[i] -= without[i] - 1;
        return with;
    };
    const auto& attention = model.blocks[0].attention;
    const auto first = read_by(attention.query, 5);
    double kept = 0;
    for (const double element : first) {
        CHECK((std::abs(element) < 1e-12 || std::abs(element - 1 / 0.75) < 1e-12));
        kept += element > 0.5;
    }
    CHECK(kept / 800 == doctest::Approx(0.75).epsilon(0.1));
    CHECK(read_by(attention.query, 5) == first);
    CHECK(distance(read_by(attention.query, 6), first) > 1);
    CHECK(distance(read_by(attention.output, 5), first) > 1);
    CHECK(distance(read_by(model.blocks[1].attention.query, 5), first) > 1);
    CHECK_THROWS_WITH_AS((Adapters(model, {.targets = {"value"}, .dropout = 1}, seed(2))),
                         "adapters: expected a dropout of at least 0, below 1, got 1.000000", Error);
}

TEST_CASE("the gradient with dropout, blocks that run again, and passes that do not train") {
    const auto inputs = tokens(2, 5, 1), targets = tokens(2, 5, 4);
    const DropoutKey key{seed(3), 9};
    const AdapterOptions options{.rank = 2, .targets = {"all-linear"}, .dropout = 0.3};
    Model model(seed(1));
    Adapters adapters(model, options, seed(2));
    begin(adapters);
    CHECK(support::worst_gradient_error_of(
              adapters, [&] { return cross_entropy(model(inputs, key), targets); }) < 1e-6);

    using Again = Transformer<Recomputed, Device, F64, Adapted>;
    Again again(seed(1));
    Adapters others(again, options, seed(2));
    std::size_t i = 0;
    for (const auto& entry : others.entries()) {
        support::assign(*entry.a, support::elements<double>(*adapters.entries()[i].a));
        support::assign(*entry.b, support::elements<double>(*adapters.entries()[i++].b));
    }
    const auto gradients = [&](auto& of, auto& own) {
        support::clear_gradients(own);
        backward(cross_entropy(of(inputs, key), targets));
        return support::all_gradients(own);
    };
    CHECK(distance(gradients(again, others), gradients(model, adapters)) < 1e-12);

    const auto logits = logits_of(model, inputs);
    adapters.merge();  // without what drops out
    CHECK(distance(logits_of(model, inputs), logits) < 1e-12);
}

TEST_CASE("a model writes with its adapters, merged or not") {
    Model model(seed(1));
    const auto without = written_by(model);
    CHECK(without == written_by(Plain(model)));
    Adapters adapters(model, {.rank = 2, .alpha = 9, .targets = {"all-linear"}, .dropout = 0.5}, seed(2));
    begin(adapters);
    const auto with = written_by(model);
    CHECK(with != without);
    CHECK(Tape::current().node_count() == 0);
    adapters.merge();
    CHECK(written_by(Plain(model)) == with);
}

TEST_CASE("training changes adapters alone, which alone have gradients and moments") {
    Model model(seed(1));
    const auto weights = support::all_elements(model);
    Adapters adapters(model, {.rank = 2, .targets = {"all-linear"}}, seed(2));
    AdamW optimizer{adapters, {.rate = 0.02}};
    std::int64_t trained = 0, moments = 0;
    for_each_parameter(adapters,
                       [&](std::string_view, ParameterBase& parameter) { trained += parameter.size(); });
    optimizer.for_each_state([&](std::string_view name, ElementType, std::int64_t count, void*) {
        if (name.ends_with("moment")) moments += count;
    });
    CHECK(trained == 2 * 2 * ((8 + 8) + 2 * (8 + 4) + (8 + 8) + 3 * (8 + 12)));
    CHECK(moments == 2 * trained);

    std::vector<double> losses;
    const auto inputs = tokens(4, 8, 1), targets = tokens(4, 8, 4);
    for (int step = 0; step < 30; ++step) {
        auto loss = cross_entropy(model(inputs), targets);
        losses.push_back(loss.item());
        backward(loss);
        optimizer.step();
    }
    CHECK(losses.back() < 0.8 * losses.front());
    CHECK(support::all_elements(model) == weights);
    for_each_parameter(model, [](std::string_view, ParameterBase& parameter) { CHECK(!parameter.gradient); });
}

TEST_CASE("a run with adapters that is taken up goes on as if it had not stopped") {
    std::vector<int> text;
    for (int i = 0; i < 100; ++i) text.push_back((i * i + 3 * i) % 11);
    const RandomBatches<dyn, dyn, int> batches(text, seed(4), 2, 5);
    struct Run {
        Model model{seed(1)};
        Adapters<Model> adapters{model, {.rank = 2}, seed(2)};
        AdamW<double, double, Device> optimizer{adapters, {.rate = 0.01}};
        std::int64_t step = 0;

        TrainingState state() {
            TrainingState state;
            state.add_parameters("adapters", adapters);
            state.add_part("optimizer", optimizer);
            state.add_value("step", step);
            return state;
        }
        void train_to(std::int64_t end, const RandomBatches<dyn, dyn, int>& batches) {
            Trainer trainer(model, optimizer, batches);
            while (step < end) trainer.step(step++);
        }
    };
    Run whole;
    whole.train_to(6, batches);
    const TemporaryFolder folder;
    {
        Run first;
        first.train_to(3, batches);
        save_training(folder.path(), first.step, first.state(), 1);
    }
    Run second;
    REQUIRE(load_training(folder.path(), second.state()));
    CHECK(second.step == 3);
    second.train_to(6, batches);
    CHECK(support::all_elements(second.adapters) == support::all_elements(whole.adapters));
}

namespace {

const support::AdapterFixture<Llama> fixture{
    (std::filesystem::path(__FILE__).parent_path() / "lora").string()};

}  // namespace

TEST_CASE("adapters of PEFT's form give PEFT's logits, and are written as they were read") {
    const auto ids = fixture.ids();
    auto model = fixture.load<Model>();
    CHECK(distance(logits_of(model, ids), fixture.reference("without")) < 1e-5);
    Adapters adapters = load_adapters(model, fixture.folder, Llama::names);
    REQUIRE(adapters.entries().size() == 6);
    CHECK(adapters.options().rank == 3);
    CHECK(adapters.options().rank_stabilized);
    const auto logits = logits_of(model, ids);
    CHECK(distance(logits, fixture.reference("logits")) < 1e-5);

    const TemporaryFolder folder;
    save_adapters(adapters, model, folder.path(), Llama::names);
    const std::string config = read_file(folder / "adapter_config.json");
    CHECK(config.find("\"lora_dropout\": 0") != config.npos);
    CHECK(config.find("\"target_modules\": [\"q_proj\", \"v_proj\", \"down_proj\"]") != config.npos);
    auto other = fixture.load<Model>();
    Adapters again = load_adapters(other, folder.path(), Llama::names);
    CHECK(logits_of(other, ids) == logits);
}

TEST_CASE("layers that share a tensor of the checkpoint share an adapter there") {
    const auto ids = tokens(2, 5, 1);
    Model model(seed(1));
    Adapters adapters(model, {.rank = 2, .targets = {"query", "value", "up", "down"}}, seed(2));
    begin(adapters);
    const auto logits = logits_of(model, ids);
    const TemporaryFolder folder;
    save_adapters(adapters, model, folder.path(), Phi3::names);
    const Safetensors file = Safetensors::open(folder / "adapter_model.safetensors");
    CHECK(file.size() == 2 * 2 * 3);
    using Extents = std::vector<std::int64_t>;
    const std::string layer = "base_model.model.model.layers.1.self_attn.qkv_proj.";
    CHECK(file.at(layer + "lora_A.weight").shape == Extents{4, 8});
    CHECK(file.at(layer + "lora_B.weight").shape == Extents{16, 4});
    CHECK(file.at("base_model.model.model.layers.0.mlp.down_proj.lora_A.weight").shape == Extents{2, 12});

    Model other(seed(1));
    const Adapters again = load_adapters(other, folder.path(), Phi3::names);
    CHECK(again.entries().size() == 2 * 6);  // the parts that had none have one of zeros
    CHECK(distance(logits_of(other, ids), logits) < 1e-12);
}

TEST_CASE("adapters that are not this model's are refused by name") {
    auto model = fixture.load<Model>();
    const auto message = [&](const std::string& from, const std::string& to) {
        return fixture.message(model, "", from, to);
    };
    CHECK(message("\"r\": 3", "\"r\": 3") == "loaded");
    CHECK(message("\"r\": 3", "\"r\": 2").find("q_proj.lora_A.weight: expected shape [2, 8], got [3, 8]") !=
          std::string::npos);
    CHECK(message("\"use_dora\": false", "\"use_dora\": true") ==
          "adapter_config.json: use_dora: expected false: DoRA is not supported, got a boolean");
    CHECK(message("\"lora_dropout\": 0.0", "\"lora_dropout\": 0.1") == "loaded");
    CHECK(message("\"lora_dropout\": 0.0", "\"lora_dropout\": 1.5") ==
          "adapter_config.json: lora_dropout: expected a probability of at least 0, below 1, got 1.500000");
    CHECK(message("\"LORA\"", "\"IA3\"") ==
          "adapter_config.json: peft_type: expected LORA, got a text \"IA3\"");
    CHECK(message("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": 4}")
              .find("layers.1.self_attn.q_proj.lora_A.weight: expected shape [4, 8], got [3, 8]") !=
          std::string::npos);
    CHECK(message("\"alpha_pattern\": {}", "\"alpha_pattern\": {\".*proj\": 4}") ==
          "adapter_config.json: alpha_pattern..*proj: expected under the name of a layer, not a regular "
          "expression, got 4");
}

TEST_CASE("a loaded checkpoint is trained whole, and saved as it was loaded") {
    const auto ids = fixture.ids();
    auto model = fixture.load<Trainable<Plain>>();
    AdamW optimizer{model, {.rate = 0.01}};
    std::vector<double> losses;
    for (int step = 0; step < 5; ++step) {
        auto loss = cross_entropy(model(ids), ids);
        losses.push_back(loss.item());
        backward(loss);
        optimizer.step();
    }
    CHECK(losses.back() < losses.front());
    const TemporaryFolder folder;
    save_checkpoint(model, folder.path(), Llama::names, fixture.folder);
    CHECK(read_file(folder / "config.json") == read_file(fixture.folder + "/config.json"));
    const auto saved = load_model<Plain>(model.sizes, open_checkpoint(folder.path()), Llama::names);
    CHECK(support::values(saved(ids).tensor()) == support::values(detach(model(ids).tensor())));
}
