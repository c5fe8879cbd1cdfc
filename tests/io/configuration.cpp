#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "../gguf_file.hpp"
#include "temporary_folder.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/io/generation_settings.hpp"
#include "tenon/io/read_configuration.hpp"
#include "tenon/model/configuration_table.hpp"
#include "thrown_message.hpp"

using namespace tenon;

namespace {

constexpr ConfigurationEntry built_in[] = {
    {"hidden_size", ConfigurationKind::integer, 64, 0.0, {}},
    {"rope_parameters.rope_theta", ConfigurationKind::real, 0, 1e4, {}},
    {"tie", ConfigurationKind::boolean, 1, 0.0, {}},
    {"architectures.0", ConfigurationKind::text, 0, 0.0, "LlamaForCausalLM"},
    {"head_dim", ConfigurationKind::null, 0, 0.0, {}},
};
constexpr ConfigurationTable built_in_table(built_in, "built-in");

static_assert(built_in_table.require_integer("hidden_size") == 64);
static_assert(built_in_table.require_real("hidden_size") == 64.0);
static_assert(built_in_table.real("rope_parameters.rope_theta", 5.0) == 1e4);
static_assert(built_in_table.boolean("tie", false));
static_assert(built_in_table.text("architectures.0") == "LlamaForCausalLM");
static_assert(built_in_table.integer("head_dim", 7) == 7);
static_assert(!built_in_table.integer("missing"));

}  // namespace

TEST_CASE("a configuration that is read equals one that is built in") {
    TemporaryFolder folder;
    write_file(folder / "config.json",
               R"({"hidden_size": 64, "rope_parameters": {"rope_theta": 10000.0}, "tie": true,
        "architectures": ["LlamaForCausalLM"], "head_dim": null, "empty": {}, "none": []})");
    OwnedConfiguration first = read_configuration(folder / "config.json");
    OwnedConfiguration owned = std::move(first);
    ConfigurationTable table = owned.table();
    REQUIRE(table.entries().size() == std::size(built_in));
    for (std::size_t i = 0; i < std::size(built_in); ++i) CHECK(table.entries()[i] == built_in[i]);
    check_mentions(thrown_message([&] { table.require_integer("x"); }), {"config.json", "x", "got nothing"});
}

TEST_CASE("nested arrays and objects flatten to dotted keys") {
    OwnedConfiguration owned(parse_json(R"({"a": [1, [2, {"b": "x\ty"}]], "": 5, "q": {"": 6}})", "f"), "f");
    ConfigurationTable table = owned.table();
    CHECK(table.require_integer("a.0") == 1);
    CHECK(table.require_integer("a.1.0") == 2);
    CHECK(table.require_text("a.1.1.b") == "x\ty");
    CHECK(table.require_integer("") == 5);
    CHECK(table.require_integer("q.") == 6);
}

TEST_CASE("a key that is missing or null gives nothing or the default, unless it is required") {
    CHECK(built_in_table.real("missing") == std::nullopt);
    CHECK(built_in_table.text("head_dim", "x") == "x");
    CHECK(built_in_table.boolean("missing", true));
    check_mentions(thrown_message([] { built_in_table.require_integer("head_dim"); }),
                   {"built-in: head_dim: expected an integer, got null"});
    check_mentions(thrown_message([] { built_in_table.require_text("missing"); }),
                   {"missing: expected a text, got nothing"});
}

TEST_CASE("a value of another kind is an error, whatever the look-up") {
    check_mentions(thrown_message([] { built_in_table.integer("tie"); }),
                   {"tie: expected an integer, got a boolean"});
    check_mentions(thrown_message([] { built_in_table.integer("rope_parameters.rope_theta", 1); }),
                   {"got a real"});
    check_mentions(thrown_message([] { built_in_table.real("architectures.0", 1); }),
                   {"expected a real, got a text"});
    check_mentions(thrown_message([] { built_in_table.boolean("hidden_size"); }),
                   {"expected a boolean, got an integer"});
    check_mentions(thrown_message([] { built_in_table.require_text("tie"); }),
                   {"expected a text, got a boolean"});
}

TEST_CASE("a configuration must be an object, of a size that is no attack") {
    CHECK_THROWS_AS(OwnedConfiguration(parse_json("[1]", "f"), "f"), FileError);
    std::string json = "{\"" + std::string(1'000'000, 'k') + "\":[1";
    for (int i = 0; i < 1000; ++i) json += ",1";
    check_mentions(thrown_message([&] { OwnedConfiguration(parse_json(json + "]}", "f"), "f"); }),
                   {"16 MiB"});
}

TEST_CASE("how a checkpoint's files say that its model should write") {
    const TemporaryFolder folder;
    const std::string config = folder / "config.json", generation = folder / "generation_config.json";
    using Ends = std::vector<std::int32_t>;
    write_file(config, R"({"eos_token_id": 5})");
    GenerationSettings settings = read_generation_settings(folder.path());
    CHECK(settings.sampling.temperature == 0.8);
    CHECK(settings.ends == Ends{5});

    write_file(generation, R"({"temperature": 0.6, "eos_token_id": [7, 9, 7]})");
    settings = read_generation_settings(folder.path());
    CHECK(settings.sampling.temperature == 0);  // as transformers does
    CHECK(settings.ends == Ends{7, 9});

    write_file(generation,
               R"({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.1})");
    settings = read_generation_settings(folder.path());
    CHECK(settings.sampling.temperature == 0.6);
    CHECK(settings.sampling.top_k == 50);
    CHECK(settings.sampling.top_p == 0.9);
    CHECK(settings.sampling.repetition_penalty == 1.1);
    CHECK(settings.ends == Ends{5});
    write_file(generation, R"({"do_sample": true, "top_p": 1.5})");
    check_mentions(thrown_message([&] { read_generation_settings(folder.path()); }), {"top-p", "1.5"});

    write_file(folder / "m.gguf", support::GgufFile()
                                      .real("general.sampling.temp", 0.25f)
                                      .integer("general.sampling.top_k", 20)
                                      .integer("tokenizer.ggml.eos_token_id", 2)
                                      .integer("tokenizer.ggml.eot_token_id", 4)
                                      .bytes());
    settings = read_generation_settings(folder / "m.gguf");
    CHECK(settings.sampling.temperature == 0.25);
    CHECK(settings.sampling.top_k == 20);
    CHECK(settings.sampling.top_p == 0.95);
    CHECK(settings.ends == Ends{2, 4});
}
