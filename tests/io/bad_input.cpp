// What no reader can read and no writer can write: each an error that names the file, and what was there
// stays.

#include <csignal>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <sys/mount.h>
#include <sys/resource.h>
#include <vector>

#include <doctest/doctest.h>

#include "../support.hpp"
#include "temporary_folder.hpp"
#include "tenon/data/encode_files.hpp"
#include "tenon/files.hpp"
#include "tenon/io/parameters.hpp"
#include "tenon/model/llama.hpp"
#include "tenon/tokenizer/train.hpp"
#include "tenon/tokenizer/write_vocabulary_files.hpp"
#include "tenon/training/mixed_batches.hpp"
#include "thrown_message.hpp"

using namespace tenon;

namespace {

/// A little more than 64 KiB, so that whatever holds it has less room than it takes.
constexpr std::size_t large = 70'000;

const Tokenizer& tokenizer() {
    static const Tokenizer bytes = train_byte_pair_tokenizer("", 256);
    return bytes;
}

struct Named {
    const char* name;
    std::function<void(const std::string& path)> run;
};

/// Whatever reads one file.
std::vector<Named> readers() {
    return {{"read_file", [](const std::string& path) { read_file(path); }},
            {"MappedFile", [](const std::string& path) { MappedFile file(path); }},
            {"Safetensors", [](const std::string& path) { Safetensors::open(path); }},
            {"Gguf", [](const std::string& path) { Gguf::open(path); }},
            {"TokenFile", [](const std::string& path) { TokenFile<std::uint16_t> file(path); }},
            {"encode_files", [](const std::string& path) {
                 TemporaryFolder folder;
                 encode_files(tokenizer(), std::vector{path}, folder / "tokens");
             }}};
}

/// Whatever writes a file of more than `large` bytes.
std::vector<Named> writers() {
    static const std::string bytes(large, 'x');
    return {{"write_file", [](const std::string& path) { write_file(path, bytes); }},
            {"write_safetensors",
             [](const std::string& path) {
                 write_safetensors(path, {{"w", ElementType::u8, {large}, std::as_bytes(std::span(bytes))}});
             }},
            {"TokenFileWriter",
             [](const std::string& path) {
                 TokenFileWriter<std::uint16_t> writer(path);
                 writer.append(std::vector<std::uint16_t>(large));
                 writer.commit();
             }},
            {"encode_files",
             [](const std::string& path) {
                 TemporaryFolder folder;
                 write_file(folder / "text", std::string_view(bytes).substr(0, large / 2 + 1));
                 encode_files(tokenizer(), std::vector{folder / "text"}, path);
             }},
            {"write_svg", [](const std::string& path) {
                 std::vector<CurveSeries> series;
                 for (int i = 0; i < 400; ++i)
                     series.push_back({std::string(200, 'n'), {{0, 1.0 * i}, {1, 2}}});
                 write_svg(path, {"title", "x", "y", series});
             }}};
}

/// What `load_parameters` needs of a model.
struct ThreeNumbers {
    using Value = float;
    using Device = Cpu;
    TransformerSizes sizes;
    Parameter<float, Shape<3>> numbers{Tensor<float, Shape<3>>::zeros()};

    void visit_parameters(ParameterVisitor& visit) { visit("embedding.weight", numbers); }
};

/// Checks that a writer fails, names the file, and leaves what was there and nothing beside it.
void check_keeps(const Named& writer, const std::string& folder, const std::string& part) {
    INFO(writer.name);
    const std::string path = folder + "/file";
    check_mentions(thrown_message([&] { writer.run(path); }), {path.c_str(), part.c_str()});
    CHECK(read_file(path) == "old");
    CHECK(names_in_folder(folder) == std::vector<std::string>{"file"});
}

}  // namespace

TEST_CASE("a file that is missing, a folder, a device, or below a file is named in the error") {
    TemporaryFolder folder;
    write_file(folder / "file", "x");
    for (const Named& reader : readers()) {
        INFO(reader.name);
        const auto message = [&](const std::string& path) {
            return thrown_message([&] { reader.run(path); });
        };
        check_mentions(message(folder / "absent"), {(folder / "absent").c_str(), "No such file"});
        check_mentions(message(folder.path()), {folder.path().c_str(), "expected a regular file", "folder"});
        check_mentions(message("/dev/null"), {"/dev/null", "special file"});
        check_mentions(message(folder / "file/below"), {"file/below", "Not a directory"});
        check_mentions(message(""), {"empty string"});
    }
}

TEST_CASE("an empty file is no tensors, no tokens to train on, and no text") {
    TemporaryFolder folder;
    const std::string path = folder / "empty";
    write_file(path, "");
    check_mentions(thrown_message([&] { Safetensors::open(path); }), {path.c_str(), "8 bytes", "got 0"});
    check_mentions(thrown_message([&] { parse_json(read_file(path), path); }),
                   {path.c_str(), "expected JSON"});
    const TokenFile<std::uint16_t> file(path);
    CHECK_THROWS_WITH_AS((MixedBatches<2, 3, std::uint16_t>({{file.tokens(), 1}}, seed(1))),
                         "batches: expected at least 4 tokens, got 0", ShapeError);
    CHECK(encode_files(tokenizer(), std::vector{path}, folder / "tokens").tokens == 0);
}

TEST_CASE("a number that the model's type makes infinite is not loaded") {
    TemporaryFolder folder;
    const std::string path = folder / "file";
    ThreeNumbers model;
    for (const double wrong : {1e300, -1e39}) {
        const double numbers[] = {1e-300, 1, wrong};
        write_safetensors(
            path, {{"embed_tokens.weight", ElementType::f64, {3}, std::as_bytes(std::span(numbers))}});
        check_mentions(
            thrown_message([&] { load_parameters(model, Safetensors::open(path), Llama::names); }),
            {path.c_str(), "embed_tokens.weight: expected finite elements, got another at element 2"});
    }
}

TEST_CASE("text that is not UTF-8 is bytes like any other") {
    TemporaryFolder folder;
    std::string bytes;
    for (int i = 0; i < 1024; ++i) bytes += static_cast<char>(i * 37 % 256);
    write_file(folder / "text", bytes);
    encode_files(tokenizer(), std::vector{folder / "text"}, folder / "tokens");
    const TokenFile<std::uint16_t> file(folder / "tokens");
    CHECK(tokenizer().decode_bytes(std::vector<TokenId>(file.tokens().begin(), file.tokens().end())) ==
          bytes);
}

TEST_CASE("what is too large for the disk's limit leaves what was there") {
    for (const Named& writer : writers()) {
        TemporaryFolder folder;
        write_file(folder / "file", "old");
        rlimit previous{};
        REQUIRE(::getrlimit(RLIMIT_FSIZE, &previous) == 0);
        rlimit small = previous;
        small.rlim_cur = 65'536;
        auto handler = std::signal(SIGXFSZ, SIG_IGN);
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
        check_keeps(writer, folder.path(), "too large");
        ::setrlimit(RLIMIT_FSIZE, &previous);
        std::signal(SIGXFSZ, handler);
    }
}

TEST_CASE("a full disk leaves what was there") {
    for (const Named& writer : writers()) {
        TemporaryFolder folder;
        create_folder(folder / "disk");
        if (::mount("tmpfs", (folder / "disk").c_str(), "tmpfs", 0, "size=64k") != 0) {
            MESSAGE("skipped: a small file system cannot be mounted here");
            return;
        }
        write_file(folder / "disk/file", "old");
        check_keeps(writer, folder / "disk", "No space left");
        CHECK(::umount((folder / "disk").c_str()) == 0);
    }
}

TEST_CASE("a folder that cannot be written to is named in the error") {
    TemporaryFolder folder;
    write_file(folder / "file", "old");
    for (const Named& writer : writers()) {
        INFO(writer.name);
        // Not even root can write below a file, or where there is no folder.
        for (const char* below : {"file/below", "absent/below"})
            check_mentions(thrown_message([&] { writer.run(folder / below); }), {(folder / below).c_str()});
    }
    CHECK_THROWS_AS(write_gpt2_files(tokenizer(), folder / "file"), FileError);
    CHECK_THROWS_AS(MetricsWriter(folder / "file/below"), FileError);
    CHECK(read_file(folder / "file") == "old");
    CHECK(folder.names().size() == 1);
}
