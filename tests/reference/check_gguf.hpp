#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

#include "check_encoder.hpp"

/// A GGUF file against what PyTorch and transformers computed, in its folder's reference.safetensors.
namespace reference::gguf {

/// The logits of a decoder, and what it writes.
template <class Model>
int check_logits(const std::string& folder, const tenon::Gguf& file,
                 const tenon::Architecture& architecture) {
    const tenon::Safetensors expected = tenon::Safetensors::open(folder + "/reference.safetensors");
    const Model model = tenon::load_model<Model>(architecture.sizes, file, architecture.names);
    const Lengths shape = table_shape(expected, "input_ids");
    const auto ids = read<std::int64_t>(expected, "input_ids", shape);
    const int time = static_cast<int>(shape[1]);
    const tenon::Tensor logits = on_host(model(columns(ids, time, 0, time)).tensor());
    const Lengths logits_shape{shape[0], shape[1], architecture.sizes.vocabulary};
    Report report;
    report.expect("logits", relative_error(logits.data(), read<float>(expected, "logits", logits_shape)),
                  tolerance);
    if (expected.find("prompt")) check_generation(report, model, expected);
    return report.result();
}

/// The hidden states of an encoder.
template <class Model>
int check_states(const std::string& folder, const tenon::Gguf& file,
                 const tenon::Architecture& architecture) {
    const tenon::Safetensors expected = tenon::Safetensors::open(folder + "/reference.safetensors");
    const Model model = tenon::load_encoder<Model>(architecture.sizes, file, architecture.names);
    const Lengths shape = table_shape(expected, "input_ids");
    const int time = static_cast<int>(shape[1]);
    const auto table = [&](std::string_view key) { return read<std::int64_t>(expected, key, shape); };
    const auto states =
        model(columns(table("input_ids"), time, 0, time), mask_of(table("attention_mask"), time));
    Report report;
    report.expect(
        "hidden states",
        error_of(states, expected, "last_hidden_state", {shape[0], shape[1], architecture.sizes.width}),
        tolerance);
    return report.result();
}

/// A file, whose every extent is read at run time.
template <class Device>
int check(const std::string& path) {
    const tenon::Gguf file = tenon::Gguf::open(path);
    const std::string folder = std::filesystem::path(path).parent_path().string();
    const tenon::OwnedConfiguration configuration(file);
    const tenon::Architecture architecture = tenon::find_architecture(configuration.table());
    if (!architecture) {
        std::printf("%s: an architecture that is not supported yet\n", file.where().c_str());
        return skipped;
    }
    if (architecture.is_encoder)
        return tenon::visit_encoder(architecture, [&]<class A>(A) {
            using C = tenon::DynamicTransformer<typename A::Features>;
            return check_states<tenon::Encoder<C, Device>>(folder, file, architecture);
        });
    return tenon::visit_architecture(architecture, [&]<class A>(A) {
        using C = tenon::DynamicTransformer<typename A::Features>;
        return check_logits<tenon::Transformer<C, Device>>(folder, file, architecture);
    });
}

}  // namespace reference::gguf
