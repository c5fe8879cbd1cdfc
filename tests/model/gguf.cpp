#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/files.hpp>
#include <tenon/model/architectures.hpp>

#include "../gguf_architecture.hpp"
#include "../gguf_file.hpp"
#include "../io/temporary_folder.hpp"
#include "../support.hpp"
#include "tenon/model/gguf_form.hpp"

using namespace tenon;
using support::architecture_of;
using support::Device;
using support::GgufFile;
using support::parsed;
using support::refusal_of;

namespace {

struct Tiny : Llama::Features {
    static constexpr int vocabulary = 5, context = 8, width = 32, depth = 2, heads = 4, key_value_heads = 2,
                         hidden = 64;
    static constexpr RotaryPairs rotary_pairs = RotaryPairs::half_split;
    static constexpr double rotary_base = 500, norm_epsilon = 1e-6f;
};
using Open = Transformer<DynamicTransformer<Llama::Features>, Device>;

std::string raw(const std::vector<float>& elements) {
    std::string bytes(elements.size() * sizeof(float), '\0');
    std::memcpy(bytes.data(), elements.data(), bytes.size());
    return bytes;
}

/// The rows of heads of `width`: those of halves, (0, width / 2), (1, width / 2 + 1), …, as neighbours.
std::vector<float> interleaved(const std::vector<float>& rows, int width, int columns) {
    std::vector<float> result;
    const auto half = static_cast<std::ptrdiff_t>(width / 2 * columns);
    for (auto head = rows.begin(); head != rows.end(); head += 2 * half)
        for (auto row = head; row != head + half; row += columns) {
            result.insert(result.end(), row, row + columns);
            result.insert(result.end(), row + half, row + half + columns);
        }
    return result;
}

GgufFile tiny_keys() {
    return GgufFile()
        .text("general.architecture", "llama")
        .integer("llama.context_length", 8)
        .integer("llama.embedding_length", 32)
        .integer("llama.block_count", 2)
        .integer("llama.feed_forward_length", 64)
        .integer("llama.attention.head_count", 4)
        .integer("llama.attention.head_count_kv", 2)
        .integer("llama.rope.dimension_count", 8)
        .real("llama.rope.freq_base", 500)
        .real("llama.attention.layer_norm_rms_epsilon", 1e-6f);
}

}  // namespace

TEST_CASE("a GGUF file's Llama is the model that was written, its pairs interleaved") {
    Transformer<Tiny, Device> model(Seed(3));
    GgufFile file = tiny_keys();
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        std::vector<float> elements = support::elements<float>(parameter);
        const bool rotates = name.find(".query.") != name.npos || name.find(".key.") != name.npos;
        if (rotates) elements = interleaved(elements, 8, 32);
        std::vector<std::uint64_t> shape{static_cast<std::uint64_t>(parameter.extents[0])};
        if (parameter.extents.rank == 2) shape.push_back(static_cast<std::uint64_t>(parameter.extents[1]));
        file.tensor(checkpoint_name(gguf_names, name), shape, 0, raw(elements));
    });
    const TemporaryFolder folder;
    write_file(folder / "m.gguf", file.bytes());

    const Gguf opened = Gguf::open(folder / "m.gguf");
    const OwnedConfiguration configuration(opened);
    const Architecture found = find_architecture(configuration.table());
    REQUIRE(found.name == "llama");
    CHECK(found.sizes.vocabulary == 5);
    CHECK(found.sizes.rotary_pairs == RotaryPairs::interleaved);
    CHECK_FALSE(found.sizes.tied);
    const Open loaded = load_model<Open>(found.sizes, opened, found.names);

    const std::vector<std::int64_t> tokens = {4, 0, 3, 3, 1, 2, 2, 0};
    const auto ids = Tensor<std::int64_t, Shape<dyn, dyn>, Device>::from(tokens, 1, 8);
    const Tensor expected = on_host(model(ids).tensor());
    const Tensor logits = on_host(loaded(ids).tensor());
    double difference = 0, norm = 0;
    for (std::int64_t i = 0; i < expected.size(); ++i) {
        const double e = expected.data()[i], d = logits.data()[i] - e;
        difference += d * d;
        norm += e * e;
    }
    CHECK(norm > 0);
    CHECK(difference <= 1e-12 * norm);
}

TEST_CASE("a GGUF file of another model: every difference is in the message") {
    const std::string bytes = tiny_keys()
                                  .tensor("token_embd.weight", {5, 16}, 0, std::string(320, '\0'))
                                  .tensor("rope_turns.weight", {4}, 0, std::string(16, '\0'))
                                  .bytes();
    const Gguf file = parsed(bytes);
    const Architecture found = find_architecture(OwnedConfiguration(file).table());
    CHECK(found.sizes.tied);
    Open model(found.sizes);
    std::string message;
    try {
        load_parameters(model, file, found.names);
    } catch (const FileError& error) {
        message = error.what();
    }
    CHECK(message.find("token_embd.weight: expected shape [5, 32], got [5, 16]") != message.npos);
    CHECK(message.find("blk.1.ffn_gate.weight: expected a tensor") != message.npos);
    CHECK(message.find("rope_turns.weight: expected no such tensor in this model") != message.npos);
}

TEST_CASE("an architecture's numbers from a GGUF file's metadata") {
    const Architecture given = architecture_of(tiny_keys().integer("llama.vocab_size", 9));
    CHECK(given.name == "llama");
    CHECK(given.sizes.vocabulary == 9);
    CHECK(given.sizes.context == 8);
    CHECK(given.sizes.width == 32);
    CHECK(given.sizes.depth == 2);
    CHECK(given.sizes.heads == 4);
    CHECK(given.sizes.key_value_heads == 2);
    CHECK(given.sizes.hidden == 64);
    CHECK(given.sizes.rotary_base == 500);
    CHECK(given.sizes.norm_epsilon == static_cast<double>(1e-6f));
    CHECK(given.sizes.window == 0);
    CHECK(architecture_of(tiny_keys().integer("llama.vocab_size", 9).text("llama.rope.scaling.type", "none"))
              .name == "llama");

    const Architecture gpt2 =
        architecture_of(GgufFile()
                            .text("general.architecture", "gpt2")
                            .integer("gpt2.context_length", 16)
                            .integer("gpt2.embedding_length", 8)
                            .integer("gpt2.block_count", 1)
                            .integer("gpt2.feed_forward_length", 32)
                            .integer("gpt2.attention.head_count", 2)
                            .real("gpt2.attention.layer_norm_epsilon", 0.5f)
                            .tensor("token_embd.weight", {3, 8}, 1, std::string(48, 0)));
    CHECK(gpt2.name == "gpt2");
    CHECK(gpt2.sizes.vocabulary == 3);
    CHECK(gpt2.sizes.hidden == 32);
    CHECK(gpt2.sizes.norm_epsilon == 0.5);
    CHECK(gpt2.sizes.tied);
    CHECK(checkpoint_name(gpt2.names, "blocks.3.attention.key.bias") == "blk.3.attn_qkv.bias");
    CHECK(refusal_of(GgufFile().text("general.architecture", "rwkv")).ends_with(", bert, got rwkv"));
    CHECK(refusal_of(
              GgufFile().integer("d_model", 1).integer("model_type", 1).text("general.architecture", "cs336"))
              .ends_with(", bert, got cs336"));
}

TEST_CASE("rotary positions of a GGUF file") {
    const auto scaling_of = [](const GgufFile& file) { return architecture_of(file).sizes.rotary_scaling; };
    const GgufFile keys = tiny_keys().integer("llama.vocab_size", 9);
    const RotaryScaling linear = scaling_of(GgufFile(keys).real("llama.rope.scaling.factor", 8));
    CHECK(linear.kind == RotaryScalingKind::linear);
    CHECK(linear.factor == 8);
    const RotaryScaling yarn = scaling_of(GgufFile(keys)
                                              .text("llama.rope.scaling.type", "yarn")
                                              .real("llama.rope.scaling.factor", 4)
                                              .integer("llama.rope.scaling.original_context_length", 2));
    CHECK(yarn.kind == RotaryScalingKind::yarn);
    CHECK(yarn.original_context == 2);
    const RotaryScaling divided =
        scaling_of(GgufFile(keys).tensor("rope_freqs.weight", {4}, 0, raw({1, 1, 2.5, 8})));
    CHECK(divided.kind == RotaryScalingKind::long_factors);
    CHECK(divided.short_divisors[2] == 2.5);
    CHECK(divided.long_divisors[3] == 8);
    CHECK(divided.amplitude == 1);
}

TEST_CASE("architectures that share a name in GGUF files, and layers that differ") {
    const auto keys = [](const char* architecture) {
        return GgufFile()
            .text("general.architecture", architecture)
            .integer(std::string(architecture) + ".vocab_size", 9)
            .integer(std::string(architecture) + ".context_length", 8)
            .integer(std::string(architecture) + ".embedding_length", 32)
            .integer(std::string(architecture) + ".block_count", 7)
            .integer(std::string(architecture) + ".feed_forward_length", 64)
            .integer(std::string(architecture) + ".attention.head_count", 4)
            .real(std::string(architecture) + ".attention.layer_norm_rms_epsilon", 1e-6f);
    };
    const Architecture mixtral =
        architecture_of(keys("llama").integer("llama.expert_count", 8).integer("llama.expert_used_count", 2));
    CHECK(mixtral.name == "mixtral");
    CHECK(mixtral.sizes.experts == 8);
    CHECK(mixtral.sizes.experts_per_token == 2);
    CHECK(mixtral.sizes.normalized_experts);
    CHECK(architecture_of(keys("llama").integer("llama.expert_count", 0)).name == "llama");

    const Architecture gemma3 = architecture_of(keys("gemma3").integer("gemma3.attention.sliding_window", 3));
    CHECK(gemma3.name == "gemma3_text");
    CHECK(gemma3.sizes.window_of(4) == 3);
    CHECK(gemma3.sizes.window_of(5) == 0);
    CHECK(gemma3.sizes.window_rotary_base == 10'000);
    CHECK(architecture_of(keys("gemma2").integer("gemma2.attention.sliding_window", 3)).sizes.window_of(1) ==
          0);
    const Architecture smollm3 = architecture_of(keys("smollm3"));
    CHECK(smollm3.sizes.unturned_layers.has(3));
    CHECK(smollm3.sizes.unturned_layers.count(7) == 1);

    const std::string message = refusal_of(keys("rwkv"));
    CHECK(
        message.starts_with("f.gguf: general.architecture: expected one of deepseek2, gemma2, gemma3, gpt2, "
                            "gptneox, llama, olmo2,"));
    CHECK(message.ends_with(", bert, got rwkv"));
}

TEST_CASE("what a GGUF file says that no model honours is refused by its key") {
    const auto with = [](const char* key, std::uint32_t value) {
        return refusal_of(tiny_keys().integer("llama.vocab_size", 9).integer(key, value));
    };
    CHECK(with("llama.expert_shared_count", 8) ==
          "f.gguf: llama.expert_shared_count: expected no such key in a model that is supported, got one");
    CHECK(with("llama.rope.dimension_count_swa", 8).starts_with("f.gguf: llama.rope.dimension_count_swa: "));
    CHECK(with("llama.rope.scaling.attn_factor", 2) ==
          "f.gguf: llama.rope.scaling.attn_factor: expected 1 without divisors of frequencies, got another");
    CHECK(with("llama.rope.scaling.factor", 0) ==
          "f.gguf: llama.rope.scaling.factor: expected a positive number, got 0.000000");
    CHECK(with("llama.attention.value_length", 7) ==
          "f.gguf: llama.attention.value_length: expected the width of a head, 8, got 7");
    CHECK(refusal_of(tiny_keys().integer("llama.vocab_size", 9).text("llama.rope.scaling.type", "yarn")) ==
          "f.gguf: llama.rope.scaling.factor: expected a real, got nothing");
    CHECK(
        refusal_of(tiny_keys().integer("llama.vocab_size", 9).text("llama.rope.scaling.type", "longrope")) ==
        "f.gguf: llama.rope.scaling.type: expected none, linear, yarn, or divisors of frequencies, got "
        "longrope");
    CHECK(
        refusal_of(
            tiny_keys().integer("llama.vocab_size", 9).tensor("rope_freqs.weight", {3}, 0, raw({1, 2, 3}))) ==
        "f.gguf: rope_freqs.weight: expected 4 positive numbers, one for each pair, at most 128, got others");
    CHECK(refusal_of(tiny_keys()) == "f.gguf: vocab_size: expected an integer, got nothing");
    CHECK(refusal_of(GgufFile().text("general.architecture", "llama").integer("llama.vocab_size", 9)) ==
          "f.gguf: llama.context_length: expected an integer, got nothing");
}
