#include "tenon/io/gguf.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "../gguf_file.hpp"
#include "temporary_folder.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/io/read_configuration.hpp"
#include "thrown_message.hpp"

using namespace tenon;
using support::GgufFile;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string refusal(const std::string& file) {
    return thrown_message([&] { Gguf::parse(bytes_of(file), "f.gguf"); });
}

constexpr std::uint32_t f32 = 0, q8_0 = 8;

/// Two tensors and a few values.
GgufFile valid_file() {
    return GgufFile()
        .text("general.architecture", "llama")
        .integer("llama.block_count", 2)
        .tensor("norm", {3}, f32, std::string(12, 'n'))
        .tensor("w", {2, 32}, q8_0, std::string(68, 'w'));
}

/// The refusal of a file of one tensor of 8 bytes.
std::string refusal_of(const std::vector<std::uint64_t>& shape, std::uint32_t type,
                       std::optional<std::uint64_t> offset = {}) {
    return refusal(GgufFile().tensor("w", shape, type, "12345678", offset).bytes());
}

}  // namespace

TEST_CASE("a GGUF file's tensors, with their shapes row-major") {
    for (const std::uint32_t version : {2u, 3u}) {
        const std::string bytes = valid_file().bytes(version);
        const Gguf file = Gguf::parse(bytes_of(bytes), "f.gguf");
        CHECK(file.where() == "f.gguf");
        REQUIRE(file.size() == 2);
        const GgufEntry& w = file.at("w");
        CHECK(w.type == GgmlType::q8_0);
        CHECK(w.shape == std::vector<std::int64_t>{2, 32});
        CHECK(w.bytes.size() == 68);
        CHECK(w.bytes.data() == bytes_of(bytes).data() + bytes.size() - 68);  // nothing is copied
        CHECK(file.find("norm")->bytes.size() == 12);
        CHECK(file.find("v") == nullptr);
        check_mentions(thrown_message([&] { file.at("nor"); }), {"f.gguf", "\"nor\"", "nearest", "\"norm\""});
        CHECK(file.metadata().find("llama.block_count")->integers() == std::vector<std::int64_t>{2});
    }
    CHECK(Gguf::parse(bytes_of(GgufFile().bytes()), "f").size() == 0);
    const std::string wide = GgufFile().alignment(128).tensor("w", {1}, f32, "1234").bytes();
    CHECK(wide.size() == 128 + 4);
    CHECK(Gguf::parse(bytes_of(wide), "f").at("w").bytes.data() == bytes_of(wide).data() + 128);
}

TEST_CASE("a GGUF file is mapped, and may be moved") {
    const TemporaryFolder folder;
    write_file(folder / "m.gguf", valid_file().bytes());
    Gguf file = Gguf::open(folder / "m.gguf");
    const Gguf moved = std::move(file);
    CHECK(moved.at("norm").bytes[0] == std::byte{'n'});
    CHECK(moved.metadata().find("general.architecture")->texts()[0] == "llama");
    check_mentions(thrown_message([&] { Gguf::open(folder / "none.gguf"); }), {"none.gguf"});
}

TEST_CASE("a GGUF file that is cut off anywhere is refused, with the place") {
    const std::string whole = valid_file().bytes();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const std::string message = refusal(whole.substr(0, size));
        CAPTURE(size);
        CAPTURE(message);
        CHECK(message.starts_with("f.gguf: "));
        if (size >= 4)
            CHECK((message.ends_with("the file is cut off") ||
                   message.find("expected 68 bytes at offset 32, got a file of") != message.npos ||
                   message.find("expected 12 bytes at offset 0, got a file of") != message.npos));
    }
    check_mentions(refusal(whole.substr(0, whole.size() - 1)), {"f.gguf: w: expected 68 bytes", "99 bytes"});
}

TEST_CASE("no number in a header asks for more than the file explains") {
    constexpr std::uint64_t many = std::uint64_t{1} << 60;
    check_mentions(
        refusal(GgufFile().bytes(3, many)),
        {"byte 24: the table of tensors: expected 1152921504606846976 elements", "got 0 bytes", "cut off"});
    check_mentions(refusal(valid_file().bytes(3, many)), {"the table of tensors", "1152921504606846976"});
    check_mentions(refusal(valid_file().bytes(3, ~std::uint64_t{0})), {"18446744073709551615"});
    check_mentions(refusal_of({many}, f32), {"w: expected 4611686018427387904 bytes at offset 0"});
    check_mentions(refusal_of({many, many}, f32), {"w: expected a tensor of less than 2^63 elements"});
    check_mentions(refusal_of({many * 7}, f32), {"w: expected a tensor whose byte count fits 64 bits"});
    check_mentions(refusal_of({~std::uint64_t{0}}, f32), {"axis 0", "18446744073709551615"});
    // Not even where another extent is 0.
    check_mentions(refusal_of({~std::uint64_t{0}, 0}, f32), {"less than 2^63"});
    CHECK(
        Gguf::parse(bytes_of(GgufFile().tensor("w", {many, 0}, f32, "").bytes()), "f").at("w").bytes.empty());
}

TEST_CASE("what the format forbids in a table of tensors is refused") {
    check_mentions(refusal_of({2}, 10), {"byte ", "w: expected a type among F32", "number 10"});
    check_mentions(refusal_of({2}, 4), {"number 4"});
    check_mentions(refusal_of({}, f32), {"1 to 4 axes", "one of 0"});
    check_mentions(refusal_of({1, 1, 1, 1, 2}, f32), {"1 to 4 axes", "one of 5"});
    check_mentions(refusal_of({33}, q8_0), {"whole blocks of 32 elements of Q8_0", "33"});
    check_mentions(refusal_of({2}, f32, 8), {"w: expected an offset that is a multiple of 32, got 8"});
    check_mentions(refusal_of({2}, f32, 64), {"w: expected 8 bytes at offset 64, got a file of 8 bytes"});
    check_mentions(refusal_of({2}, f32, ~std::uint64_t{31}), {"offset 18446744073709551584"});
    check_mentions(refusal(valid_file().tensor("v", {4}, f32, std::string(16, 'v'), 64).bytes()),
                   {"f.gguf: v: expected bytes of its own, got some of w: tensors overlap"});
    check_mentions(refusal(valid_file().tensor("v", {3}, f32, std::string(12, 'v'), 0).bytes()),
                   {"tensors overlap"});
    check_mentions(refusal(valid_file().tensor("w", {3}, f32, std::string(12, 'v')).bytes()),
                   {"f.gguf: expected one tensor \"w\", got several"});
}

TEST_CASE("what the format forbids in a header is refused") {
    check_mentions(refusal("GGML" + std::string(20, '\0')), {"f.gguf: byte 0: expected a file that begins"});
    check_mentions(refusal(GgufFile().bytes(1)),
                   {"byte 4: expected a GGUF file of version 2 or 3", "got version 1"});
    check_mentions(refusal(GgufFile().bytes(0x03000000)),
                   {"little-endian"});  // 3, as big-endian files have it
    check_mentions(refusal(GgufFile().number("k", 13, 1).bytes()),
                   {"k: expected a value of a known type", "13"});
    check_mentions(refusal(GgufFile().begin_list("k", 9, 0).bytes()),
                   {"k: expected a value of a known type", "9"});
    check_mentions(refusal(GgufFile().integer("a", 1).integer("b", 1).integer("a", 2).bytes()),
                   {"expected one value of the key a, got several"});
    check_mentions(refusal(GgufFile().integer(std::string(70'000, 'k'), 1).bytes()),
                   {"at most 65535 bytes", "70000"});
    check_mentions(refusal(GgufFile().integer("general.alignment", 0).bytes()),
                   {"general.alignment: expected a power of 2, got 0"});
    check_mentions(refusal(GgufFile().integer("general.alignment", 48).bytes()), {"got 48"});
    check_mentions(refusal(GgufFile().text("general.alignment", "32").bytes()),
                   {"expected a number of 32 bits"});
}

TEST_CASE("values of all types") {
    const std::string bytes = GgufFile()
                                  .number("u8", 0, std::uint8_t{200})
                                  .number("i8", 1, std::int8_t{-2})
                                  .number("u16", 2, std::uint16_t{60'000})
                                  .number("i16", 3, std::int16_t{-3})
                                  .number("u32", 4, std::uint32_t{4'000'000'000})
                                  .number("i32", 5, std::int32_t{-4})
                                  .number("f32", 6, 0.5f)
                                  .flag("flag", true)
                                  .text("text", "words")
                                  .number("u64", 10, std::uint64_t{1} << 40)
                                  .number("i64", 11, std::int64_t{-5})
                                  .number("f64", 12, 0.1)
                                  .texts("list", {"a", "", "bc"})
                                  .integers("none", {})
                                  .bytes();
    const GgufMetadata metadata{std::string_view(bytes)};
    CHECK(metadata.size() == bytes.size());
    CHECK(metadata.find("missing") == nullptr);
    using Integers = std::vector<std::int64_t>;
    const auto integers = [&](const char* key) { return metadata.find(key)->integers(); };
    CHECK(integers("u8") == Integers{200});
    CHECK(integers("i8") == Integers{-2});
    CHECK(integers("u16") == Integers{60'000});
    CHECK(integers("i16") == Integers{-3});
    CHECK(integers("u32") == Integers{4'000'000'000});
    CHECK(integers("i32") == Integers{-4});
    CHECK(integers("flag") == Integers{1});
    CHECK(integers("u64") == Integers{std::int64_t{1} << 40});
    CHECK(integers("i64") == Integers{-5});
    CHECK(integers("none").empty());
    CHECK(integers("f32").empty());
    CHECK(integers("text").empty());
    CHECK(metadata.find("f32")->reals() == std::vector<double>{0.5});
    CHECK(metadata.find("f64")->reals() == std::vector<double>{0.1});
    CHECK(metadata.find("u8")->reals().empty());
    CHECK(metadata.find("text")->texts() == std::vector<std::string_view>{"words"});
    CHECK(metadata.find("list")->texts() == std::vector<std::string_view>{"a", "", "bc"});
    CHECK(metadata.find("list")->is_list);
}

TEST_CASE("metadata are a configuration, but for the tokenizer's, and outlive the file") {
    const TemporaryFolder folder;
    write_file(folder / "m.gguf", GgufFile()
                                      .text("general.architecture", "llama")
                                      .integers("llama.counts", {3, 4})
                                      .real("llama.rope.freq_base", 1e5f)
                                      .flag("llama.flag", false)
                                      .texts("tokenizer.ggml.tokens", {"a"})
                                      .tensor("token_embd.weight", {7, 2}, f32, std::string(56, '\0'))
                                      .bytes());
    OwnedConfiguration first = read_configuration(folder / "m.gguf");
    const OwnedConfiguration configuration = std::move(first);
    const ConfigurationTable table = configuration.table();
    CHECK(table.where() == folder / "m.gguf");
    CHECK(table.require_text("general.architecture") == "llama");
    CHECK(table.require_integer("llama.counts.1") == 4);
    CHECK(table.require_real("llama.rope.freq_base") == 1e5);
    CHECK_FALSE(table.require_boolean("llama.flag"));
    CHECK_FALSE(table.find("tokenizer.ggml.tokens.0"));
    CHECK(table.require_integer("vocab_size") == 7);
    CHECK(table.require_boolean("tie_word_embeddings"));

    const ConfigurationTable own = table.below("llama");
    CHECK(own.require_real("rope.freq_base") == 1e5);
    CHECK_FALSE(own.find("general.architecture"));
    CHECK_FALSE(own.find("llama.flag"));
    CHECK_FALSE(table.below("lla").find("ma.flag"));
    std::string keys;
    own.for_each([&](std::string_view key, const ConfigurationEntry&) { keys += std::string(key) + " "; });
    CHECK(keys == "counts.0 counts.1 flag rope.freq_base ");
    check_mentions(thrown_message([&] { own.require_length("block_count"); }),
                   {"m.gguf: llama.block_count: expected an integer, got nothing"});
}

TEST_CASE("a split file: the first part has the metadata, all have tensors") {
    const TemporaryFolder folder;
    const auto part = [](std::uint16_t number, const char* tensor) {
        return GgufFile()
            .number("split.no", 2, number)
            .number("split.count", 2, std::uint16_t{2})
            .number("split.tensors.count", 5, std::int32_t{2})
            .tensor(tensor, {2}, f32, std::string(8, tensor[0]));
    };
    const std::string first = folder / "m-00001-of-00002.gguf", second = folder / "m-00002-of-00002.gguf";
    write_file(first, part(0, "x").text("general.architecture", "llama").bytes());
    const auto refusal_to_open = [](const std::string& path) {
        return thrown_message([&] { Gguf::open(path); });
    };
    check_mentions(refusal_to_open(first), {"m-00002-of-00002.gguf"});
    write_file(second, part(1, "y").bytes());
    const Gguf file = Gguf::open(first);
    CHECK(file.size() == 2);
    CHECK(file.at("x").bytes[0] == std::byte{'x'});
    CHECK(file.at("y").bytes[7] == std::byte{'y'});
    CHECK(file.metadata().find("general.architecture") != nullptr);

    check_mentions(refusal_to_open(second), {"the first of 2 parts", "-00001-of-00002.gguf"});
    write_file(second, part(0, "y").bytes());
    check_mentions(refusal_to_open(first), {"m-00002-of-00002.gguf: split.no: expected 1, got 0"});
    write_file(second, part(1, "x").bytes());
    check_mentions(refusal_to_open(first), {"expected one tensor \"x\", got several"});
    write_file(second, part(1, "y").tensor("z", {2}, f32, std::string(8, 'z')).bytes());
    check_mentions(refusal_to_open(first), {"expected 2 tensors in 2 parts, got 3"});
    write_file(folder / "other.gguf", part(0, "x").bytes());
    check_mentions(refusal_to_open(folder / "other.gguf"), {"other.gguf: expected a file of its own"});
}
