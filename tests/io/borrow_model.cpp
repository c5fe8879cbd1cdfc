// Models whose parameters stay in the file's memory, and files large enough to be read ahead, in pieces.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/files.hpp>
#include <tenon/io/borrow_model.hpp>

#include "../support.hpp"
#include "temporary_folder.hpp"
#include "thrown_message.hpp"

using namespace tenon;

namespace {

// An embedding of 3 M elements: 12 MiB in float.
struct Large : Llama::Features {
    static constexpr int vocabulary = 3072, context = 8, width = 1024, depth = 1, heads = 2, hidden = 96;
};
using Model = Transformer<Large>;
using Narrow = Transformer<Large, Cpu, PureBf16>;
using Stored = Transformer<Large, Cpu, StoredWeights>;

template <class M>
std::vector<float> elements(M& model) {
    std::vector<float> result;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        const auto own = support::elements<typename M::Value>(parameter);
        for (const auto element : own) result.push_back(static_cast<float>(element));
    });
    return result;
}

/// The logits of a few tokens.
template <class M>
std::vector<double> logits(const M& model) {
    const auto ids = Tensor<std::int32_t, Shape<1, 4>>::of({1, 3071, 17, 2});
    return support::values(model(ids).tensor());
}

constexpr const char* table = "model.embed_tokens.weight";

/// A saved model, whose elements can be changed in the file.
template <class M>
class SavedModel {
public:
    SavedModel() : model(seed(1)) { save_parameters(model, path(), Llama::names); }

    std::string path() const { return folder_ / "model.safetensors"; }
    Safetensors open() const { return Safetensors::open(path()); }

    void set(const char* tensor, std::size_t element, float value) const {
        std::string text = read_file(path());
        const Safetensors file = open();
        const auto last = file.entries().back().bytes;  // whose end is the file's
        const std::ptrdiff_t from_end = last.data() + last.size() - file.at(tensor).bytes.data();
        const auto stored = static_cast<typename M::Value>(value);
        std::memcpy(text.data() + text.size() - static_cast<std::size_t>(from_end) + element * sizeof(stored),
                    &stored, sizeof(stored));
        write_file(path(), text);
    }

    M model;

private:
    TemporaryFolder folder_;
};

const TransformerSizes sizes = sizes_of<Large>();

}  // namespace

TEST_CASE("a model whose matrices stay in the file computes what one that was loaded does") {
    SavedModel<Model> saved;
    const Safetensors file = saved.open();
    Model loaded = load_model<Model>(sizes, file, Llama::names);
    CHECK(elements(loaded) == elements(saved.model));
    Memory<Cpu>::reset_peak();
    const std::size_t before = Memory<Cpu>::used_bytes();
    Model borrowed = borrow_model<Model>(sizes, file, Llama::names);
    CHECK(Memory<Cpu>::peak_bytes() - before < 100'000);  // of 14 MB; rotations are its own
    CHECK(borrowed.embedding.data == file.at(table).bytes.data());
    for_each_parameter(borrowed, [](std::string_view name, ParameterBase& parameter) {
        CAPTURE(name);
        CHECK_FALSE(parameter.storage);
    });
    CHECK(elements(borrowed) == elements(saved.model));
    CHECK(logits(borrowed) == logits(loaded));
    CHECK(logits(borrowed) == logits(saved.model));
}

TEST_CASE("of a file of 16 bits all is converted, whatever piece it is in") {
    SavedModel<Narrow> saved;
    const Safetensors file = saved.open();
    Model wide = borrow_model<Model>(sizes, file, Llama::names);
    CHECK(wide.embedding.storage);
    CHECK(elements(wide) == elements(saved.model));
    Narrow narrow = borrow_model<Narrow>(sizes, file, Llama::names);
    CHECK_FALSE(narrow.embedding.storage);
    CHECK(elements(narrow) == elements(saved.model));
}

TEST_CASE("a model of StoredWeights leaves matrices of 16 bits in the file, and computes in f32") {
    SavedModel<Narrow> saved;
    const Safetensors file = saved.open();
    const Model loaded = load_model<Model>(sizes, file, Llama::names);
    Memory<Cpu>::reset_peak();
    const std::size_t before = Memory<Cpu>::used_bytes();
    Stored borrowed = borrow_model<Stored>(sizes, file, Llama::names);
    CHECK(Memory<Cpu>::peak_bytes() - before < 100'000);  // of 7 MB; gains are its own, too
    CHECK(borrowed.embedding.data == file.at(table).bytes.data());
    for_each_parameter(borrowed, [](std::string_view name, ParameterBase& parameter) {
        CAPTURE(name);
        const bool is_matrix = parameter.role != Role::gain;
        CHECK(parameter.type == (is_matrix ? ElementType::bf16 : ElementType::f32));
        CHECK(bool(parameter.storage) != is_matrix);
    });
    CHECK(logits(borrowed) == logits(loaded));

    // It is saved as it is.
    const TemporaryFolder folder;
    save_parameters(borrowed, folder / "again", Llama::names);
    const Safetensors again = Safetensors::open(folder / "again");
    CHECK(again.at(table).type == ElementType::bf16);
    CHECK(std::memcmp(again.at(table).bytes.data(), file.at(table).bytes.data(),
                      file.at(table).bytes.size()) == 0);

    // Loaded from another file, it has that file's types.
    SavedModel<Model> other;
    load_parameters(borrowed, other.open(), Llama::names);
    CHECK(borrowed.embedding.type == ElementType::f32);
    CHECK(logits(borrowed) == logits(other.model));
}

TEST_CASE("what is not finite is refused by name and first element, borrowed or loaded") {
    const float bad[] = {std::nanf(""), HUGE_VALF, -HUGE_VALF};
    for (const float value : bad) {
        SavedModel<Model> saved;
        saved.set("model.norm.weight", 1023, value);
        saved.set(table, 3'000'000, value);  // of several pieces two
        saved.set(table, 2'000'003, value);
        const Safetensors file = saved.open();
        const std::string message =
            saved.path() + ": 2 tensors are not this model's:\n  " + table +
            ": expected finite elements, got another at element 2000003\n  "
            "model.norm.weight: expected finite elements, got another at element 1023";
        CHECK(thrown_message([&] { borrow_model<Model>(sizes, file, Llama::names); }) == message);
        CHECK(thrown_message([&] { load_model<Model>(sizes, file, Llama::names); }) == message);
        // Who asks not to look at the file is not told.
        CHECK_NOTHROW((borrow_model<Model, Borrowed::unread>(sizes, file, Llama::names)));
    }
}

TEST_CASE("the same in 16 bits") {
    const float bad[] = {std::nanf(""), HUGE_VALF, -HUGE_VALF};
    for (const float value : bad) {
        SavedModel<Narrow> saved;
        saved.set(table, 3'145'727, value);
        const Safetensors file = saved.open();
        const std::string message =
            saved.path() + ": " + table + ": expected finite elements, got another at element 3145727";
        CHECK(thrown_message([&] { borrow_model<Narrow>(sizes, file, Llama::names); }) == message);
        CHECK(thrown_message([&] { borrow_model<Stored>(sizes, file, Llama::names); }) == message);
        CHECK(thrown_message([&] { borrow_model<Model>(sizes, file, Llama::names); }) == message);
    }
}

TEST_CASE("a file that was cut is refused before it is borrowed") {
    SavedModel<Model> saved;
    const std::string text = read_file(saved.path());
    write_file(saved.path(), text.substr(0, text.size() - 4));
    check_mentions(thrown_message([&] { saved.open(); }), {saved.path().c_str(), "expected a range of the "});
}

TEST_CASE("the greatest and the least numbers of every type are finite, and their neighbours are not") {
    const auto check = []<class T>(T greatest, T infinite, T least) {
        std::vector<T> elements(100, greatest);
        elements[3] = least;
        elements[64] = static_cast<T>(-static_cast<ComputeOf<T>>(greatest));
        CHECK(detail::first_not_finite(elements.data(), 100) == -1);
        elements[77] = infinite;
        elements[99] = infinite;
        CHECK(detail::first_not_finite(elements.data(), 100) == 77);
        CHECK(detail::first_not_finite(elements.data(), 77) == -1);
        CHECK(detail::first_not_finite(elements.data(), 0) == -1);
    };
    check(0x1.fffffep127f, HUGE_VALF, 0x1p-149f);
    check(0x1.fffffffffffffp1023, HUGE_VAL, 0x1p-1074);
    check(bf16(0x1.fep127f), bf16(HUGE_VALF), bf16(0x1p-133f));
    check(f16(65504.0f), f16(HUGE_VALF), f16(0x1p-24f));
}
