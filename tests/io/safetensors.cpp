#include "tenon/io/safetensors.hpp"

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "temporary_folder.hpp"
#include "tenon/io/checkpoint.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/safetensors_write.hpp"
#include "thrown_message.hpp"

using namespace tenon;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A file with that header, and `size` bytes after it.
std::string file_of(std::string header, std::size_t size) {
    std::string length(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
    return length + header + std::string(size, 'x');
}

std::string refusal(std::string_view file) {
    return thrown_message([&] { Safetensors::parse(bytes_of(file), "f.safetensors"); });
}

/// The refusal of a file of one header.
std::string refusal(std::string header, std::size_t size) {
    return refusal(file_of(std::move(header), size));
}

std::string valid_file() {
    return file_of(
        R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
        R"("scalar":{"dtype":"I64","shape":[],"data_offsets":[24,32]},"none":{"dtype":"U8","shape":[0,7],"data_offsets":[32,32]},)"
        R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[32,38]}}   )",
        38);
}

}  // namespace

TEST_CASE("a file's tensors come in the order of their bytes, and are found by name") {
    std::string file = valid_file();
    Safetensors tensors = Safetensors::parse(bytes_of(file), "f.safetensors");
    std::string names;
    for (const SafetensorsEntry& entry : tensors) names += entry.name + " ";
    CHECK(names == "w scalar none b ");
    const SafetensorsEntry& w = tensors.at("w");
    CHECK(w.type == ElementType::f32);
    CHECK(w.shape == std::vector<std::int64_t>{2, 3});
    CHECK(w.bytes.size() == 24);
    CHECK(w.bytes.data() == bytes_of(file).data() + file.size() - 38);  // nothing is copied
    CHECK(tensors.at("scalar").shape.empty());
    CHECK(tensors.at("none").bytes.empty());
    REQUIRE(tensors.metadata().size() == 1);
    CHECK(tensors.metadata()[0] == std::pair<std::string, std::string>("format", "pt"));
    CHECK(tensors.find("v") == nullptr);
}

TEST_CASE("a missing tensor's error names the file, the key and the nearest names") {
    std::string file = file_of(R"({"layers.0.weight":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                               R"("layers.1.weight":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                               R"("layers.0.bias":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                               R"("embedding":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                               0);
    Safetensors tensors = Safetensors::parse(bytes_of(file), "f.safetensors");
    std::string message = thrown_message([&] { tensors.at("layers.0.weigth"); });
    check_mentions(message, {"f.safetensors", "\"layers.0.weigth\"",
                             "\"layers.0.weight\", \"layers.1.weight\", \"layers.0.bias\""});
    CHECK(message.find("embedding") == std::string::npos);
    Safetensors empty = Safetensors::parse(bytes_of(std::string_view("\2\0\0\0\0\0\0\0{}", 10)), "f");
    check_mentions(thrown_message([&] { empty.at("a"); }), {"no names at all"});
}

TEST_CASE("what the format forbids is refused, with the place") {
    check_mentions(refusal(std::string_view("")), {"f.safetensors", "8 bytes", "got 0"});
    check_mentions(refusal(std::string_view("1234567")), {"got 7"});
    check_mentions(refusal(std::string_view("\x10\0\0\0\0\0\0\0{}", 10)), {"within the file", "got 16"});
    check_mentions(refusal(std::string(8, '\xFF')), {"100000000", "18446744073709551615"});
    check_mentions(refusal(std::string(8, '\0')), {"begins with {"});
    check_mentions(refusal(" {}", 0), {"begins with {"});
    check_mentions(refusal("{]", 0), {"byte 1"});
    check_mentions(refusal("{} x", 0), {"expected JSON"});

    auto one = [](std::string dtype, std::string shape, std::string offsets) {
        return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
    };
    CHECK_NOTHROW(Safetensors::parse(bytes_of(file_of(one("\"F32\"", "[2]", "[0,8]"), 8)), "f"));
    check_mentions(refusal(one("\"F33\"", "[2]", "[0,8]"), 8), {"w.dtype", "F33"});
    check_mentions(refusal(one("5", "[2]", "[0,8]"), 8), {"w.dtype", "expected a text"});
    check_mentions(refusal(one("\"F32\"", "2", "[0,8]"), 8), {"w.shape", "expected an array"});
    check_mentions(refusal(one("\"F32\"", "[-2]", "[0,8]"), 8), {"w.shape.0", "nonnegative", "-2"});
    check_mentions(refusal(one("\"F32\"", "[2.0]", "[0,8]"), 8), {"w.shape.0", "nonnegative"});
    check_mentions(refusal(one("\"F32\"", "[4294967296,4294967296]", "[0,8]"), 8), {"w.shape", "64 bits"});
    check_mentions(refusal(one("\"F32\"", "[4611686018427387904]", "[0,0]"), 0), {"w.shape", "64 bits"});
    check_mentions(refusal(one("\"F32\"", "[2]", "[0,8,9]"), 8), {"w.data_offsets", "two offsets"});
    check_mentions(refusal(one("\"F32\"", "[2]", "{}"), 8), {"w.data_offsets", "two offsets"});
    check_mentions(refusal(one("\"F32\"", "[2]", "[8,0]"), 8), {"w.data_offsets", "[8, 0)"});
    check_mentions(refusal(one("\"F32\"", "[2]", "[0,9223372036854775807]"), 8),
                   {"w.data_offsets", "the 8 bytes after the header"});
    check_mentions(refusal(one("\"F32\"", "[2]", "[0,18446744073709551615]"), 8),
                   {"w.data_offsets.1", "nonnegative"});
    check_mentions(refusal(one("\"F32\"", "[3]", "[0,8]"), 8), {"w.data_offsets", "the 12 bytes"});
    check_mentions(refusal(one("\"F32\"", "[2]", "[0,8]"), 9), {"expected 8 bytes", "got 9"});
    check_mentions(refusal(one("\"F32\"", "[2]", "[1,9]"), 9), {"offset 0", "got 1", "no tensor"});

    std::string w = R"("w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
    check_mentions(refusal("{" + w + "," + w + "}", 4), {"overlap"});
    check_mentions(refusal("{" + w + R"(,"v":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})", 6),
                   {"v", "offset 4", "overlap"});
    check_mentions(refusal("{" + w + R"(,"v":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}})", 9),
                   {"v", "no tensor"});
    std::string none = R"("n":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    check_mentions(refusal("{" + none + "," + none + "}", 0), {"one tensor \"n\"", "several"});
    check_mentions(refusal(R"({"w":{"dtype":"U8","shape":[0],"dtype":"U8","data_offsets":[0,0]}})", 0),
                   {"w.dtype", "one field"});
    check_mentions(refusal(R"({"w":{"dtype":"U8","shape":[0]}})", 0), {"w", "data_offsets"});
    check_mentions(refusal(R"({"w":3})", 0), {"w", "expected an object"});
    check_mentions(refusal(R"({"__metadata__":{"a":1}})", 0), {"__metadata__.a", "expected a text"});
    check_mentions(refusal(R"({"__metadata__":[]})", 0), {"__metadata__"});
    check_mentions(refusal(R"({"__metadata__":{},"__metadata__":{}})", 0), {"one __metadata__"});
}

TEST_CASE("mutated and cut-off files are read or refused, and nothing else") {
    const std::string valid = valid_file();
    std::uint64_t state = 1;
    auto random = [&](std::uint64_t bound) {  // Knuth's MMIX generator
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>((state >> 33) % bound);
    };
    const std::string_view pieces[] = {
        "\"",   "{",       "}",   "[",      "]",   ",", ":", "0", "9", "-", "18446744073709551616",
        "null", "\\u0000", "F64", "\"w\":", "1e9", "\0"};
    std::size_t read = 0, refused = 0;
    for (int round = 0; round < 20'000; ++round) {
        std::string file = valid;
        for (std::size_t mutations = 1 + random(3); mutations > 0; --mutations) {
            std::size_t at = random(file.size());
            switch (random(6)) {
                case 0:
                    file[at] = static_cast<char>(random(256));
                    break;
                case 1:
                    file[at] = static_cast<char>(file[at] ^ (1 << random(8)));
                    break;
                case 2:
                    file.resize(1 + at);
                    break;
                case 3:
                    file.erase(at, 1 + random(8));
                    break;
                case 4:
                    file.insert(at, pieces[random(std::size(pieces))]);
                    break;
                default:
                    file.insert(at, file.substr(random(file.size()), random(40)));
                    break;
            }
            if (file.empty()) break;
        }
        // A block of exactly that size, so that a sanitizer sees a read past its end.
        std::vector<std::byte> block(bytes_of(file).begin(), bytes_of(file).end());
        try {
            Safetensors tensors = Safetensors::parse(block, "f");
            std::size_t size = 0;
            for (const SafetensorsEntry& entry : tensors) size += text_of(entry.bytes).size();
            CHECK(size <= block.size());
            ++read;
        } catch (const FileError&) {
            ++refused;
        }
    }
    CHECK(read + refused == 20'000);
    CHECK(read > 100);
    CHECK(refused > 10'000);
    for (std::size_t size = 0; size < valid.size(); ++size) {
        CHECK_THROWS_AS(Safetensors::parse(bytes_of(std::string_view(valid).substr(0, size)), "f"),
                        FileError);
    }
}

TEST_CASE("what is written reads back, laid out like the reference implementation's files") {
    TemporaryFolder folder;
    std::string path = folder / "a.safetensors";
    std::vector<std::pair<std::string, std::string>> metadata = {{"format", "pt"}, {"quote\"", "line\n"}};
    std::string bytes = "0123456789abcdef";
    auto first = [&](std::size_t size) { return bytes_of(bytes).first(size); };
    write_safetensors(path,
                      {{"b", ElementType::u8, {3}, first(3)},
                       {"z", ElementType::f32, {2, 2}, first(16)},
                       {"a", ElementType::f32, {}, first(4)},
                       {"h\"", ElementType::bf16, {1, 4}, first(8)},
                       {"n", ElementType::i64, {0}, {}}},
                      metadata);
    std::string file = read_file(path);
    CHECK(file.substr(8, 2) == "{\"");
    CHECK(static_cast<unsigned char>(file[0]) % 8 == 0);
    Safetensors tensors = Safetensors::open(path);
    std::string names;
    for (const SafetensorsEntry& entry : tensors) names += entry.name + " ";
    CHECK(names == "n a z h\" b ");
    CHECK(text_of(tensors.at("z").bytes) == bytes);
    CHECK(text_of(tensors.at("b").bytes) == "012");
    CHECK(tensors.at("z").shape == std::vector<std::int64_t>{2, 2});
    CHECK(tensors.metadata() == metadata);
    CHECK(reinterpret_cast<std::uintptr_t>(tensors.entries().front().bytes.data()) % 8 == 0);

    write_safetensors(path, {});
    CHECK(Safetensors::open(path).entries().empty());
}

TEST_CASE("what no file can hold is not written") {
    TemporaryFolder folder;
    std::string path = folder / "a.safetensors";
    auto refuse = [&](std::vector<SafetensorsTensor> tensors) {
        return thrown_message([&] { write_safetensors(path, tensors); });
    };
    check_mentions(refuse({{"w", ElementType::f32, {2}, bytes_of("1234")}}),
                   {"\"w\"", "the 8 bytes", "got 4"});
    check_mentions(refuse({{"w", ElementType::f32, {-1}, {}}}), {"got -1"});
    check_mentions(refuse({{"w", ElementType::f32, {INT64_MAX, INT64_MAX}, {}}}), {"64 bits"});
    check_mentions(refuse({{"w\xFF", ElementType::u8, {0}, {}}}), {"UTF-8"});
    check_mentions(refuse({{"__metadata__", ElementType::u8, {0}, {}}}), {"reserve"});
    check_mentions(refuse({{"w", ElementType::u8, {0}, {}}, {"w", ElementType::f32, {0}, {}}}),
                   {"one tensor \"w\""});
    CHECK(folder.names().empty());
}

TEST_CASE("every element type is written under a name that reads back") {
    for (int i = 0; i <= static_cast<int>(ElementType::u64); ++i) {
        auto type = static_cast<ElementType>(i);
        CHECK(detail::element_type_of_safetensors(detail::safetensors_name_of(type)) == type);
        CHECK(size_of(type) > 0);
        CHECK(name_of(type) != "unknown");
    }
    CHECK_FALSE(detail::element_type_of_safetensors("F4"));
}

TEST_CASE("a checkpoint is one file, or the files of its index") {
    TemporaryFolder folder;
    auto write = [&](std::string name, std::string tensor) {
        write_safetensors(folder / name, {{tensor, ElementType::u8, {1}, bytes_of(tensor).first(1)}});
    };
    auto index = [&](std::string weight_map) {
        write_file(folder / "model.safetensors.index.json", R"({"weight_map":)" + weight_map + "}");
    };
    auto refuse = [&] { return thrown_message([&] { open_checkpoint(folder.path()); }); };

    check_mentions(refuse(), {"model.safetensors", "No such file"});
    write("model.safetensors", "whole");
    CHECK(text_of(open_checkpoint(folder.path()).at("whole").bytes) == "w");

    write("1.safetensors", "a");
    write("2.safetensors", "b");
    index(R"({"a":"1.safetensors","b":"2.safetensors"})");
    Checkpoint checkpoint = open_checkpoint(folder.path());
    CHECK(checkpoint.size() == 2);
    CHECK(checkpoint.files().size() == 2);
    CHECK(text_of(checkpoint.at("b").bytes) == "b");
    CHECK(checkpoint.find("whole") == nullptr);
    check_mentions(thrown_message([&] { checkpoint.at("aa"); }), {folder.path().c_str(), "\"aa\"", "\"a\""});

    index(R"({"a":"1.safetensors","b":"1.safetensors"})");
    check_mentions(refuse(), {"weight_map.b", "there is none"});
    index(R"({"a":"2.safetensors","b":"1.safetensors"})");
    check_mentions(refuse(), {"weight_map.a", "1.safetensors"});
    index(R"({"a":"3.safetensors"})");
    check_mentions(refuse(), {"3.safetensors", "No such file"});
    index(R"({"a":"../1.safetensors"})");
    check_mentions(refuse(), {"same folder"});
    index("[]");
    CHECK_THROWS_AS(open_checkpoint(folder.path()), FileError);
    write("2.safetensors", "a");
    index(R"({"a":"1.safetensors","b":"2.safetensors"})");
    check_mentions(refuse(), {"one tensor \"a\"", "1.safetensors", "2.safetensors"});
}
