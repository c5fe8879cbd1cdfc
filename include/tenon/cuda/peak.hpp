#pragma once

#include <optional>
#include <string_view>

namespace tenon::cuda {

/// Floating-point operations a second that a card's matrix units do at most, of 16-bit numbers added up in 32
/// bits, without sparsity, by the name that CUDA has for it and NVIDIA's data sheets; nothing for a card that
/// is not listed.
constexpr std::optional<double> dense_peak_flops(std::string_view card) {
    // The first whose name begins so: what is longer stands first.
    constexpr struct {
        std::string_view card;
        double tera;
    } peaks[] = {{"NVIDIA A100", 312},      {"NVIDIA A10G", 70},
                 {"NVIDIA A10", 125},       {"NVIDIA A30", 165},
                 {"NVIDIA A40", 149.7},     {"NVIDIA B200", 2250},
                 {"NVIDIA GH200", 989.5},   {"NVIDIA H100 NVL", 835},
                 {"NVIDIA H100 PCIe", 756}, {"NVIDIA H100", 989.5},
                 {"NVIDIA H200 NVL", 835},  {"NVIDIA H200", 989.5},
                 {"NVIDIA L40S", 362},      {"NVIDIA L40", 181},
                 {"NVIDIA L4", 121},        {"NVIDIA GeForce RTX 4090", 165.2}};
    for (const auto& peak : peaks)
        if (card.starts_with(peak.card)) return 1e12 * peak.tera;
    return std::nullopt;
}

}  // namespace tenon::cuda
