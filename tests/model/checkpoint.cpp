#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/files.hpp>
#include <tenon/io/borrow_model.hpp>

#include "../io/temporary_folder.hpp"
#include "../support.hpp"

using namespace tenon;
using support::at;
using support::Device;

namespace {

struct Tiny : Gpt2::Features {
    static constexpr int vocabulary = 7, context = 5, width = 4, depth = 2, heads = 2, hidden = 6;
};
using Model = Transformer<Tiny, Device>;
using Open = Transformer<DynamicTransformer<Gpt2::Features>, Device>;

/// A model no two of whose elements are the same.
Model numbered() {
    Model model;
    float next = 1;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        std::vector<float> numbers;
        for (std::int64_t i = 0; i < parameter.size(); ++i) numbers.push_back(next++);
        support::assign(parameter, numbers);
    });
    return model;
}

template <class M>
std::vector<float> elements(M& model) {
    std::vector<float> result;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        const auto own = support::elements<float>(parameter);
        result.insert(result.end(), own.begin(), own.end());
    });
    return result;
}

/// The tensors of a file, to be changed and written as another.
class Tensors {
public:
    struct Content {
        ElementType type;
        std::vector<std::int64_t> shape;
        std::vector<std::byte> bytes;
    };

    explicit Tensors(const Safetensors& file) {
        for (const SafetensorsEntry& entry : file)
            contents[std::string(entry.name)] = {
                entry.type, entry.shape, {entry.bytes.begin(), entry.bytes.end()}};
    }

    void write(const std::string& path) const {
        std::vector<SafetensorsTensor> tensors;
        for (const auto& [name, content] : contents)
            tensors.push_back({name, content.type, content.shape, content.bytes});
        write_safetensors(path, tensors, {});
    }

    std::map<std::string, Content> contents;
};

/// What loading a file says that has been saved and then changed.
template <class Change>
std::string message_for(Change change, const TransformerSizes& sizes = sizes_of<Tiny>()) {
    const TemporaryFolder folder;
    Model model = numbered();
    save_parameters(model, folder / "whole", Gpt2::names);
    Tensors tensors(Safetensors::open(folder / "whole"));
    change(tensors.contents);
    tensors.write(folder / "changed");
    const Safetensors changed = Safetensors::open(folder / "changed");
    try {
        Open loaded = load_model<Open>(sizes, changed, Gpt2::names);
        return elements(loaded) == elements(model) ? "the same" : "others";
    } catch (const FileError& error) {
        const std::string text = error.what();
        REQUIRE(text.starts_with(changed.where() + ": "));
        return text.substr(changed.where().size() + 2);
    }
}

}  // namespace

TEST_CASE("a parameter's place in GPT-2's form: thirds of a transposed tensor") {
    Model model = numbered();
    const auto places = checkpoint_places(model, Gpt2::names);
    CHECK(places[0].tensor == "transformer.wte.weight");
    CHECK(places[0].is_whole());
    CHECK(places[1].tensor == "transformer.wpe.weight");
    CHECK(places[2].tensor == "transformer.h.0.ln_1.weight");
    CHECK(places[3].tensor == "transformer.h.0.ln_1.bias");
    for (int third = 0; third < 3; ++third) {
        const CheckpointPlace &weight = places[static_cast<std::size_t>(4 + 2 * third)],
                              &bias = places[static_cast<std::size_t>(5 + 2 * third)];
        CHECK(weight.tensor == "transformer.h.0.attn.c_attn.weight");
        CHECK(weight.shape() == std::vector<std::int64_t>{4, 12});
        CHECK(weight.first_output == 4 * third);
        CHECK(bias.tensor == "transformer.h.0.attn.c_attn.bias");
        CHECK(bias.shape() == std::vector<std::int64_t>{12});
        CHECK(bias.first_output == 4 * third);
    }
    CHECK_THROWS_AS(checkpoint_name(Gpt2::names, "blocks.0.feed_forward.gate.weight"), Error);
    CHECK_THROWS_AS(checkpoint_name(Gpt2::names, "blocks.weight"), Error);
    CHECK_THROWS_AS(checkpoint_name(Gpt2::names, "weight"), Error);
    CHECK(checkpoint_name(Gpt2::names, "head.weight") == "lm_head.weight");
}

TEST_CASE("GPT-2's form, element by element") {
    const TemporaryFolder folder;
    Model model = numbered();
    save_parameters(model, folder / "file", Gpt2::names);
    const Safetensors file = Safetensors::open(folder / "file");
    CHECK(file.size() == 2 + 2 * 12 + 2);
    const auto stored = [&](const char* name, int i) {
        float value;
        std::memcpy(&value, file.at(name).bytes.data() + 4 * i, 4);
        return value;
    };
    const auto& attention = model.blocks[1].attention;
    for (int in = 0; in < 4; ++in)
        for (int out = 0; out < 4; ++out) {
            const char* name = "transformer.h.1.attn.c_attn.weight";
            CHECK(stored(name, 12 * in + out) == at(attention.query.weight.value(), out, in));
            CHECK(stored(name, 12 * in + 4 + out) == at(attention.key.weight.value(), out, in));
            CHECK(stored(name, 12 * in + 8 + out) == at(attention.value.weight.value(), out, in));
        }
    for (int out = 0; out < 4; ++out) {
        CHECK(stored("transformer.h.1.attn.c_attn.bias", 4 + out) == at(attention.key.bias.value(), out));
        for (int in = 0; in < 6; ++in)
            CHECK(stored("transformer.h.1.mlp.c_proj.weight", 4 * in + out) ==
                  at(model.blocks[1].feed_forward.down.weight.value(), out, in));
    }
    CHECK(stored("transformer.wte.weight", 4 * 3 + 1) == at(model.embedding.value(), 3, 1));
}

TEST_CASE("what was saved is loaded, with and without the prefix, beside masks") {
    using Contents = std::map<std::string, Tensors::Content>;
    CHECK(message_for([](Contents&) {}) == "the same");
    CHECK(message_for([](Contents& contents) {
              Contents bare;
              for (auto& [name, content] : contents) bare[name.substr(12)] = content;
              bare["h.0.attn.bias"] = {ElementType::u8, {1, 1, 5, 5}, std::vector<std::byte>(25)};
              bare["h.1.attn.masked_bias"] = {ElementType::f32, {}, std::vector<std::byte>(4)};
              contents = bare;
          }) == "the same");
    CHECK(message_for([](Contents& contents) {
              contents["lm_head.weight"] = contents["transformer.wte.weight"];
          }) == "the same");
}

TEST_CASE("a file of another model: every difference is in the message") {
    using Contents = std::map<std::string, Tensors::Content>;
    CHECK(message_for([](Contents& c) { c.erase("transformer.h.1.ln_2.bias"); })
              .starts_with("transformer.h.1.ln_2.bias: expected a tensor \"transformer.h.1.ln_2.bias\", got "
                           "none"));
    CHECK(message_for([](Contents& c) { c["other"] = c["transformer.ln_f.bias"]; }) ==
          "other: expected no such tensor in this model");
    CHECK(message_for([](Contents& c) {
              c["lm_head.weight"] = c["transformer.wte.weight"];
              c["lm_head.weight"].bytes[5] ^= std::byte(1);
          }) ==
          "lm_head.weight: expected the elements of transformer.wte.weight, to which the head is tied, got "
          "others");
    CHECK(message_for([](Contents& c) { c["transformer.ln_f.bias"].type = ElementType::i32; }) ==
          "transformer.ln_f.bias: expected real elements, got i32");
    TransformerSizes sizes = sizes_of<Tiny>();
    sizes.hidden = 8;
    sizes.context = 6;
    CHECK(message_for([](Contents&) {}, sizes) ==
          "7 tensors are not this model's:\n"
          "  transformer.wpe.weight: expected shape [6, 4], got [5, 4]\n"
          "  transformer.h.0.mlp.c_fc.weight: expected shape [4, 8], got [4, 6]\n"
          "  transformer.h.0.mlp.c_fc.bias: expected shape [8], got [6]\n"
          "  transformer.h.0.mlp.c_proj.weight: expected shape [8, 4], got [6, 4]\n"
          "  transformer.h.1.mlp.c_fc.weight: expected shape [4, 8], got [4, 6]\n"
          "  transformer.h.1.mlp.c_fc.bias: expected shape [8], got [6]\n"
          "  transformer.h.1.mlp.c_proj.weight: expected shape [8, 4], got [6, 4]");
}

TEST_CASE("blocks after the model's, which a file may hold, are known by their numbers") {
    const CheckpointNames names = llama_names;
    CHECK(detail::is_of_later_block("model.layers.61.self_attn.q_proj.weight", names, 61));
    CHECK(detail::is_of_later_block("model.layers.100.eh_proj.weight", names, 61));
    CHECK_FALSE(detail::is_of_later_block("model.layers.60.self_attn.q_proj.weight", names, 61));
    CHECK_FALSE(detail::is_of_later_block("model.layers.weight", names, 61));
    CHECK_FALSE(detail::is_of_later_block("model.layers.61", names, 61));
    CHECK_FALSE(detail::is_of_later_block("layers.61.enorm.weight", names, 61));
}

TEST_CASE("what is not finite is not loaded") {
    const float bad[] = {HUGE_VALF, -HUGE_VALF, std::nanf("")};
    for (const float value : bad)
        CHECK(message_for([&](std::map<std::string, Tensors::Content>& c) {
                  std::memcpy(c["transformer.h.0.attn.c_attn.weight"].bytes.data() + 4 * 17, &value, 4);
              }) ==
              "transformer.h.0.attn.c_attn.weight: expected finite elements, got another at element 17");
}

TEST_CASE("sizes that a file does not have are refused before memory is taken for them") {
    TransformerSizes sizes = sizes_of<Tiny>();
    sizes.depth = 2'000'000'000;
    CHECK(message_for([](auto&) {}, sizes) == "expected the tensors of 2000000000 blocks, got 28 tensors");
    sizes = sizes_of<Tiny>();
    sizes.hidden = 2'000'000'000;
    sizes.vocabulary = 2'000'000'000;
    Memory<Device>::reset_peak();
    const std::size_t before = Memory<Device>::used_bytes();
    CHECK(message_for([](auto&) {}, sizes).starts_with("7 tensors are not this model's:"));
    CHECK(Memory<Device>::peak_bytes() - before < 1'000'000);
}

/// In functions of the model, as only a CPU's parameters can lie in a file.
template <class M>
void check_borrowing() {
    if constexpr (std::same_as<typename M::Device, Cpu>) {
        const TemporaryFolder folder;
        M model = numbered();
        save_parameters(model, folder / "whole", Gpt2::names);
        const Safetensors file = Safetensors::open(folder / "whole");
        const std::span<const std::byte> bytes = file.at("transformer.wte.weight").bytes;
        Open borrowed = borrow_model<Open>(sizes_of<Tiny>(), file, Gpt2::names);
        CHECK(elements(borrowed) == elements(model));
        CHECK(borrowed.embedding.data == bytes.data());
        // GPT-2's matrices are transposed, and three are in one tensor; of biases that are joined none is
        // whole.
        CHECK(borrowed.blocks[0].attention_norm.gain.data ==
              file.at("transformer.h.0.ln_1.weight").bytes.data());
        CHECK(borrowed.blocks[0].attention.query.weight.is_borrowed());
        CHECK(borrowed.blocks[0].attention.query.bias.storage);
        CHECK_FALSE(borrowed.embedding.storage);
        // What is loaded later is not written into the file.
        load_parameters(borrowed, file, Gpt2::names);
        CHECK(borrowed.embedding.data != bytes.data());
        CHECK(elements(borrowed) == elements(model));

        // What has another type is converted, and then lies in a file of its own type.
        using Narrow = Transformer<Tiny, Cpu, PureBf16>;
        Narrow narrow = borrow_model<Narrow>(sizes_of<Tiny>(), file, Gpt2::names);
        CHECK(narrow.embedding.storage);
        CHECK(narrow.embedding.value()(2, 3) == bf16(borrowed.embedding.value()(2, 3)));
        save_parameters(narrow, folder / "narrow", Gpt2::names);
        const Safetensors narrow_file = Safetensors::open(folder / "narrow");
        Narrow again = borrow_model<Narrow>(sizes_of<Tiny>(), narrow_file, Gpt2::names);
        CHECK(again.embedding.data == narrow_file.at("transformer.wte.weight").bytes.data());
    }
}

TEST_CASE("a model may borrow what its file holds as it does, and copies the rest") {
    check_borrowing<Model>();
}

TEST_CASE("elements are converted from whatever reals a file has") {
    const TemporaryFolder folder;
    Model model = numbered();
    Transformer<Tiny, Device, F64> wide;
    save_parameters(model, folder / "f32", Gpt2::names);
    load_parameters(wide, Safetensors::open(folder / "f32"), Gpt2::names);
    CHECK(at(wide.blocks[1].attention.key.weight.value(), 2, 3) ==
          static_cast<double>(at(model.blocks[1].attention.key.weight.value(), 2, 3)));
    save_parameters(wide, folder / "f64", Gpt2::names);
    CHECK(Safetensors::open(folder / "f64").at("transformer.wpe.weight").type == ElementType::f64);
    Open back = load_model<Open>(sizes_of<Tiny>(), Safetensors::open(folder / "f64"), Gpt2::names);
    CHECK(elements(back) == elements(model));
}

TEST_CASE("norms of a model in mixed precision are saved and loaded in 32 bits, the rest in 16") {
    using Mixed = Transformer<Tiny, Device, MixedBf16>;
    const TemporaryFolder folder;
    Mixed model(seed(1));
    support::assign(model.norm.gain, std::vector<float>{1.0009765625f, 3, 1e-30f, -0.1f});
    save_parameters(model, folder / "file", Gpt2::names);
    const Safetensors file = Safetensors::open(folder / "file");
    CHECK(file.at("transformer.ln_f.weight").type == ElementType::f32);
    CHECK(file.at("transformer.h.0.ln_1.bias").type == ElementType::f32);
    CHECK(file.at("transformer.h.0.attn.c_attn.weight").type == ElementType::bf16);
    CHECK(file.at("transformer.h.0.attn.c_attn.weight").bytes.size() == 4 * 12 * sizeof(bf16));
    Mixed loaded = load_model<Mixed>(sizes_of<Tiny>(), file, Gpt2::names);
    CHECK(support::all_elements(loaded) == support::all_elements(model));
    save_parameters(loaded, folder / "again", Gpt2::names);
    const Safetensors again = Safetensors::open(folder / "again");
    for (const SafetensorsEntry& entry : file)
        CHECK(std::equal(entry.bytes.begin(), entry.bytes.end(), again.at(entry.name).bytes.begin()));
    // Files whose norms have 16 bits, too, are read as before.
    Transformer<Tiny, Device, PureBf16> narrow;
    load_parameters(narrow, file, Gpt2::names);
    save_parameters(narrow, folder / "narrow", Gpt2::names);
    CHECK(Safetensors::open(folder / "narrow").at("transformer.ln_f.weight").type == ElementType::bf16);
    load_parameters(loaded, Safetensors::open(folder / "narrow"), Gpt2::names);
    CHECK(support::elements<float>(loaded.norm.gain)[0] == 1);
}

TEST_CASE("a configuration of GPT-2 is recognized, and what is another model's is not") {
    using Entry = ConfigurationEntry;
    using Kind = ConfigurationKind;
    const auto text = [](const char* key, const char* value) { return Entry{key, Kind::text, 0, 0, value}; };
    const auto integer = [](const char* key, int value) { return Entry{key, Kind::integer, value, 0, {}}; };
    const auto boolean = [](const char* key, bool value) { return Entry{key, Kind::boolean, value, 0, {}}; };
    const std::vector<Entry> entries{text("model_type", "gpt2"),
                                     integer("vocab_size", 384),
                                     integer("n_positions", 128),
                                     integer("n_embd", 64),
                                     integer("n_layer", 3),
                                     integer("n_head", 4),
                                     Entry{"n_inner", Kind::null, 0, 0, {}},
                                     Entry{"resid_pdrop", Kind::real, 0, 0.2, {}}};
    const Architecture found = find_architecture(ConfigurationTable(entries));
    CHECK(found.name == "gpt2");
    CHECK(found.sizes.hidden == 256);
    CHECK(found.sizes.context == 128);
    CHECK(found.sizes.tied);
    CHECK(found.sizes.dropout == 0.2);
    CHECK(found.sizes.norm_epsilon == 1e-5);
    static constexpr Entry minimal[] = {
        {"model_type", Kind::text, 0, 0, "gpt2"}, {"vocab_size", Kind::integer, 3, 0, {}},
        {"n_positions", Kind::integer, 3, 0, {}}, {"n_embd", Kind::integer, 4, 0, {}},
        {"n_layer", Kind::integer, 1, 0, {}},     {"n_head", Kind::integer, 2, 0, {}}};
    [[maybe_unused]] constexpr Architecture constant = find_architecture(ConfigurationTable(minimal));
    static_assert(std::same_as<ArchitectureAt<constant.index>, Gpt2>);
    CHECK(visit_architecture(found, []<class A>(A) { return A::name; }) == "gpt2");
    CHECK_THROWS_AS(visit_architecture(Architecture(), []<class A>(A) { return 0; }), Error);
    const auto with = [&](Entry entry) {
        std::vector<Entry> changed = entries;
        changed.push_back(entry);
        return bool(find_architecture(ConfigurationTable(changed)));
    };
    CHECK(with(text("activation_function", "gelu_pytorch_tanh")));
    CHECK_FALSE(with(text("activation_function", "relu")));
    CHECK_FALSE(with(boolean("scale_attn_by_inverse_layer_idx", true)));
    CHECK_FALSE(with(boolean("scale_attn_weights", false)));
    CHECK_FALSE(with(boolean("add_cross_attention", true)));
}

TEST_CASE("the published sizes of GPT-2") {
    static constexpr TransformerSizes sizes{.vocabulary = 50'257,
                                            .context = 1024,
                                            .width = 768,
                                            .depth = 12,
                                            .heads = 12,
                                            .key_value_heads = 12,
                                            .head_width = 64,
                                            .hidden = 3072,
                                            .tied = true};
    static_assert(parameter_count<Gpt2::Features>(sizes) == 124'439'808);
    static_assert(parameter_count<Transformer<StaticTransformer<sizes, Gpt2::Features>, Device>>() ==
                  124'439'808);
}
