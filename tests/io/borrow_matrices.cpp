// Matrices that a file holds transposed, or several in one tensor, stay in it as they lie there.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/files.hpp>
#include <tenon/io/borrow_model.hpp>
#include <tenon/model/gpt2.hpp>
#include <tenon/model/phi3.hpp>

#include "../cached_logits.hpp"
#include "../support.hpp"
#include "temporary_folder.hpp"
#include "thrown_message.hpp"

using namespace tenon;

namespace {

template <class A, class P = F32>
using Model = Transformer<DynamicTransformer<typename A::Features>, Cpu, P>;

/// Odd ones, and some whose products several threads share.
template <class A>
std::vector<TransformerSizes> all_sizes() {
    TransformerSizes odd, large;
    odd.vocabulary = 61;
    odd.context = 24;
    odd.width = 36;
    odd.depth = 2;
    odd.heads = 3;
    odd.hidden = 53;
    odd.tied = std::is_same_v<A, Gpt2>;
    large = odd;
    large.width = 256;
    large.depth = 1;
    large.heads = 4;
    large.hidden = 2051;
    return {resolved(odd, A::Features::positions), resolved(large, A::Features::positions)};
}

/// A file of a model with parameters of P.
template <class A, class P>
struct SavedModel {
    explicit SavedModel(const TransformerSizes& sizes, int number = 1) {
        Model<A, P> model(seed(static_cast<std::uint64_t>(number)), sizes);
        save_parameters(model, path, A::names);
    }

    Safetensors open() const { return Safetensors::open(path); }

    /// Writes a number that is not finite.
    void spoil(const std::string& tensor, std::int64_t element) const {
        std::string text = read_file(path);
        const Safetensors file = open();
        const auto last = file.entries().back().bytes;  // whose end is the file's
        const std::ptrdiff_t from_end = last.data() + last.size() - file.at(tensor).bytes.data();
        using T = typename P::storage;
        const T bad(std::nanf(""));
        std::memcpy(text.data() + text.size() - from_end + element * std::ptrdiff_t{sizeof(T)}, &bad,
                    sizeof(T));
        write_file(path, text);
    }

    TemporaryFolder folder;
    std::string path = folder / "model.safetensors";
};

/// The greatest difference of logits, in parts of the greatest logit.
double difference(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    double greatest = 0, most = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        greatest = std::max(greatest, std::abs(double{b[i]}));
        most = std::max(most, std::abs(double{a[i]} - double{b[i]}));
    }
    return most / greatest;
}

/// Calls check(prompt's length) for some, on one thread and on two.
template <class F>
void for_each_prompt(const F& check) {
    const int before = thread_count();
    for (const int threads : {1, 2}) {
        CAPTURE(threads);
        set_thread_count(threads);
        for (const int tokens : {1, 5, 17}) {
            CAPTURE(tokens);
            check(tokens);
        }
    }
    set_thread_count(before);
}

/// Borrows an M of a file: its matrices take no memory, lie in the file, and are those that are loaded.
template <class A, class M>
M checked_borrowed(const TransformerSizes& sizes, const Safetensors& file) {
    Memory<Cpu>::reset_peak();
    const std::size_t before = Memory<Cpu>::used_bytes();
    M model = borrow_model<M>(sizes, file, A::names);
    const std::size_t taken = Memory<Cpu>::peak_bytes() - before;
    std::size_t matrices = 0, rest = 0;
    const std::byte* const begin = file.entries().front().bytes.data();
    const auto last = file.entries().back().bytes;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        CAPTURE(name);
        (parameter.role == Role::matrix ? matrices : rest) += static_cast<std::size_t>(parameter.size());
        if (parameter.role != Role::matrix) {
            CHECK(parameter.is_packed());
            return;
        }
        const auto* const data = static_cast<const std::byte*>(parameter.data);
        CHECK(parameter.is_borrowed());
        CHECK(std::less_equal<>()(begin, data));
        CHECK(std::less<>()(data, last.data() + last.size()));
    });
    CHECK(taken < 10'000 + rest * sizeof(float));
    CHECK(matrices > 2 * rest);
    M loaded = load_model<M>(sizes, file, A::names);
    CHECK(support::all_elements(model) == support::all_elements(loaded));
    return model;
}

/// Bounds of what sums in another order differ by.
template <class A>
constexpr double tolerance = std::is_same_v<A, Gpt2> ? 1e-5 : 0;

template <class A, class P>
void check_logits() {
    for (const TransformerSizes& sizes : all_sizes<A>()) {
        CAPTURE(sizes.width);
        const SavedModel<A, P> saved(sizes);
        const Safetensors file = saved.open();
        const auto stored = checked_borrowed<A, Model<A, StoredWeights>>(sizes, file);
        auto loaded = load_model<Model<A>>(sizes, file, A::names);
        // The same numbers in f32, which are left in their file, too.
        const std::string wide_path = saved.folder / "wide";
        save_parameters(loaded, wide_path, A::names);
        const Safetensors wide_file = Safetensors::open(wide_path);
        const auto wide = checked_borrowed<A, Model<A>>(sizes, wide_file);
        std::vector<std::vector<float>> on_one_thread;
        for_each_prompt([&](int tokens) {
            const std::vector<float> own = cached_logits(stored, tokens);
            CHECK(difference(own, cached_logits(loaded, tokens)) <= tolerance<A>);
            CHECK(cached_logits(wide, tokens) == own);
            if (thread_count() == 1)
                on_one_thread.push_back(own);
            else
                CHECK(std::count(on_one_thread.begin(), on_one_thread.end(), own) == 1);
        });
    }
}

}  // namespace

TEST_CASE("matrices of GPT-2's form, transposed and three in one tensor, stay in the file") {
    check_logits<Gpt2, F32>();
    check_logits<Gpt2, PureBf16>();
    check_logits<Gpt2, MixedF16>();

    const TransformerSizes sizes = all_sizes<Gpt2>()[0];
    const SavedModel<Gpt2, PureBf16> saved(sizes);
    const Safetensors file = saved.open();
    const auto model = borrow_model<Model<Gpt2, StoredWeights>>(sizes, file, Gpt2::names);
    const std::byte* const joined = file.at("transformer.h.1.attn.c_attn.weight").bytes.data();
    const auto& key = model.blocks[1].attention.key.weight;
    CHECK(key.data == joined + 36 * sizeof(bf16));
    CHECK(key.strides[0] == 1);
    CHECK(key.strides[1] == 3 * 36);
    const auto& down = model.blocks[1].feed_forward.down.weight;
    CHECK(down.data == file.at("transformer.h.1.mlp.c_proj.weight").bytes.data());
    CHECK(down.strides[0] == 1);
    CHECK(down.strides[1] == 36);
}

TEST_CASE("matrices of Phi-3's form, several in one tensor, stay in the file, and results are the same") {
    check_logits<Phi3, F32>();
    check_logits<Phi3, PureBf16>();
    check_logits<Phi3, MixedF16>();

    const TransformerSizes sizes = all_sizes<Phi3>()[0];
    const SavedModel<Phi3, F32> saved(sizes);
    const Safetensors file = saved.open();
    const auto model = borrow_model<Model<Phi3>>(sizes, file, Phi3::names);
    const auto& up = model.blocks[1].feed_forward.up.weight;
    CHECK(up.data ==
          file.at("model.layers.1.mlp.gate_up_proj.weight").bytes.data() + 53 * 36 * sizeof(float));
    CHECK(up.is_packed());
}

TEST_CASE("a model of 16 bits borrows them, too") {
    const TransformerSizes sizes = all_sizes<Gpt2>()[0];
    const SavedModel<Gpt2, PureBf16> saved(sizes);
    const Safetensors file = saved.open();
    const auto model = checked_borrowed<Gpt2, Model<Gpt2, PureBf16>>(sizes, file);
    CHECK_FALSE(model.blocks[0].attention.query.weight.is_packed());
    const auto ids = Tensor<std::int32_t, Shape<1, 3>>::of({1, 60, 17});
    const auto loaded = load_model<Model<Gpt2, PureBf16>>(sizes, file, Gpt2::names);
    CHECK(support::values(model(ids).tensor()) == support::values(loaded(ids).tensor()));
}

TEST_CASE("matrices of another type, of interleaved heads, or of a model in 8 bits are copied") {
    const TransformerSizes sizes = all_sizes<Gpt2>()[0];
    const auto is_borrowed = [&]<class M>(std::type_identity<M>, const Safetensors& file) {
        const M model = borrow_model<M>(sizes, file, Gpt2::names);
        return model.blocks[0].attention.query.weight.is_borrowed();
    };
    const SavedModel<Gpt2, F32> wide(sizes);
    const SavedModel<Gpt2, PureBf16> narrow(sizes);
    CHECK(is_borrowed(std::type_identity<Model<Gpt2>>(), wide.open()));
    CHECK_FALSE(is_borrowed(std::type_identity<Model<Gpt2>>(), narrow.open()));
    CHECK_FALSE(is_borrowed(std::type_identity<Model<Gpt2, MixedFp8>>(), narrow.open()));

    const auto is_view = [](CheckpointPlace place) { return bool(place.view()); };
    CheckpointPlace place{"", nullptr, true, 4, 12};
    place.extents = Extents(4, 6);
    CHECK(is_view(place));
    CHECK(place.view()->first == 4);
    place.transposed = false;
    CHECK(place.view()->first == 4 * 6);
    place.turns = 2;
    CHECK_FALSE(is_view(place));
    place.turns = 1;
    place.addend = 1;
    CHECK_FALSE(is_view(place));
    place.addend = 0;
    place.extents = Extents(2, 2, 6);
    CHECK_FALSE(is_view(place));
}

TEST_CASE_TEMPLATE("what is not finite is refused by name and element in what is transposed and joined", P,
                   F32, PureBf16) {
    const TransformerSizes sizes = all_sizes<Gpt2>()[0];
    const SavedModel<Gpt2, P> saved(sizes);
    const std::string name = "transformer.h.1.attn.c_attn.weight";
    saved.spoil(name, 7 * 108 + 36);  // of the keys
    saved.spoil(name, 35 * 108 + 71);
    saved.spoil("transformer.h.0.mlp.c_fc.weight", 35 * 53 + 52);
    const Safetensors file = saved.open();
    const std::string message =
        saved.path +
        ": 2 tensors are not this model's:\n  transformer.h.0.mlp.c_fc.weight: expected "
        "finite elements, got another at element 1907\n  " +
        name + ": expected finite elements, got another at element 792";
    using Stored = Model<Gpt2, StoredWeights>;
    CHECK(thrown_message([&] { borrow_model<Model<Gpt2>>(sizes, file, Gpt2::names); }) == message);
    CHECK(thrown_message([&] { borrow_model<Stored>(sizes, file, Gpt2::names); }) == message);
    CHECK(thrown_message([&] { load_model<Model<Gpt2>>(sizes, file, Gpt2::names); }) == message);
    CHECK_NOTHROW((borrow_model<Stored, Borrowed::unread>(sizes, file, Gpt2::names)));
}

TEST_CASE_TEMPLATE("a model whose matrices are a file's is saved with its numbers", A, Gpt2, Phi3) {
    const TransformerSizes sizes = all_sizes<A>()[0];
    const TemporaryFolder folder;
    const SavedModel<A, F32> saved(sizes);
    const Safetensors file = saved.open();
    auto wide = borrow_model<Model<A>>(sizes, file, A::names);
    save_parameters(wide, folder / "wide", A::names);
    CHECK(read_file(folder / "wide") == read_file(saved.path));

    const SavedModel<A, MixedF16> of_narrow(sizes);
    const Safetensors narrow_file = of_narrow.open();
    auto narrow = borrow_model<Model<A, StoredWeights>>(sizes, narrow_file, A::names);
    save_parameters(narrow, folder / "narrow", A::names);
    const Safetensors again = Safetensors::open(folder / "narrow");
    for (const SafetensorsEntry& entry : narrow_file) {
        if (entry.shape.size() == 1 || entry.name.ends_with("wpe.weight")) continue;  // no matrices
        CAPTURE(entry.name);
        const SafetensorsEntry& same = again.at(entry.name);
        CHECK(same.type == ElementType::f16);
        CHECK(std::equal(same.bytes.begin(), same.bytes.end(), entry.bytes.begin(), entry.bytes.end()));
    }
}

TEST_CASE_TEMPLATE("what is loaded into a model whose matrices are a file's has memory of its own", P, F32,
                   StoredWeights) {
    const TransformerSizes sizes = all_sizes<Gpt2>()[0];
    const SavedModel<Gpt2, F32> saved(sizes), other(sizes, 2);
    const std::string before = read_file(saved.path);
    const Safetensors file = saved.open();
    auto model = borrow_model<Model<Gpt2, P>>(sizes, file, Gpt2::names);
    CHECK_FALSE(model.blocks[0].attention.query.weight.is_packed());
    load_parameters(model, other.open(), Gpt2::names);
    for_each_parameter(model, [](std::string_view name, ParameterBase& parameter) {
        CAPTURE(name);
        CHECK_FALSE(parameter.is_borrowed());
        CHECK(parameter.is_packed());
    });
    const auto loaded = load_model<Model<Gpt2>>(sizes, other.open(), Gpt2::names);
    CHECK(cached_logits(model, 5) == cached_logits(loaded, 5));
    CHECK(read_file(saved.path) == before);
}

TEST_CASE("what is a file's is not written") {
    const TransformerSizes sizes = all_sizes<Gpt2>()[0];
    const SavedModel<Gpt2, F32> saved(sizes);
    const Safetensors file = saved.open();
    auto model = borrow_model<Model<Gpt2>>(sizes, file, Gpt2::names);
    CHECK_THROWS_WITH_AS(initialize(model, seed(3)),
                         "expected a parameter that is the model's to write, got one that is borrowed",
                         Error);
}

TEST_CASE("layers share what is a file's only where they take its strides") {
    const TransformerSizes sizes = all_sizes<Gpt2>()[0];
    const SavedModel<Gpt2, F32> saved(sizes);
    const Safetensors file = saved.open();
    auto model = borrow_model<Model<Gpt2>>(sizes, file, Gpt2::names);
    auto& query = model.blocks[0].attention.query;
    Linear<Setting<Cpu, F32, Untracked>, dyn, dyn, true> same(36, 36);
    share_parameters(query, same);
    CHECK(same.weight.data == query.weight.data);
    CHECK(same.weight.value() == query.weight.value());
    Linear<Setting<Cpu, F32, Tracked>, dyn, dyn, true> trained(36, 36);
    CHECK_THROWS_WITH_AS(share_parameters(query, trained),
                         "share_parameters: expected a packed parameter, got one with strides", Error);
}
