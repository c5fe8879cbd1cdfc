#pragma once

#include <concepts>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

#include "check.hpp"

/// A GGUF file against what PyTorch and transformers computed, in its folder's reference.safetensors.
namespace reference {

template <class Model>
int check_gguf(const std::string& folder, const tenon::Gguf& file, const tenon::Architecture& architecture) {
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

inline int check_gguf(const std::string& path) {
    const tenon::Gguf file = tenon::Gguf::open(path);
    const tenon::OwnedConfiguration configuration(file);
    const tenon::Architecture architecture = tenon::find_architecture(configuration.table());
    if (!architecture) {
        std::printf("%s: an architecture that is not supported yet\n", file.where().c_str());
        return skipped;
    }
    return tenon::visit_architecture(architecture, [&]<class A>(A) {
        // No file holds the former, and no test asks for the latter, so that nothing is compiled for them.
        if constexpr (A::Features::latent_attention || !std::same_as<Device, Cpu>) {
            return skipped;
        } else {
            using Model = tenon::Transformer<tenon::DynamicTransformer<typename A::Features>>;
            const std::string folder = std::filesystem::path(path).parent_path().string();
            return check_gguf<Model>(folder, file, architecture);
        }
    });
}

}  // namespace reference
