#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <tenon/model/configuration.hpp>
#include <tenon/model/configuration_table.hpp>

/// Rotary positions as configurations of published checkpoints say them.
namespace tenon {

/// Whether a configuration has an object with members.
constexpr bool has_object(const ConfigurationTable& table, std::string_view object) {
    for (const ConfigurationEntry& entry : table)
        if (entry.key.size() > object.size() && entry.key.starts_with(object) &&
            entry.key[object.size()] == '.')
            return true;
    return false;
}

namespace detail {

/// The members of one object of settings; 0: not given.
struct PublishedRotary {
    std::string_view kind;
    double base = 0, share = 0, factor = 0, original_context = 0, amplitude = 0, fast_turns = 0,
           slow_turns = 0, scale = 0, scale_of_all = 0, low_factor = 0, high_factor = 0;
    bool whole_bounds = true;
    int short_count = 0, long_count = 0;
    RotaryScaling divisors;
};

/// Reads the members "PREFIX.NAME". Throws FileError where there is one of an unknown name.
constexpr void read_rotary_members(const ConfigurationTable& table, std::string_view prefix,
                                   PublishedRotary& read) {
    using Number = double PublishedRotary::*;
    const struct {
        std::string_view name;
        Number number;
    } numbers[] = {{"rope_theta", &PublishedRotary::base},
                   {"partial_rotary_factor", &PublishedRotary::share},
                   {"factor", &PublishedRotary::factor},
                   {"original_max_position_embeddings", &PublishedRotary::original_context},
                   {"attention_factor", &PublishedRotary::amplitude},
                   {"beta_fast", &PublishedRotary::fast_turns},
                   {"beta_slow", &PublishedRotary::slow_turns},
                   {"mscale", &PublishedRotary::scale},
                   {"mscale_all_dim", &PublishedRotary::scale_of_all},
                   {"low_freq_factor", &PublishedRotary::low_factor},
                   {"high_freq_factor", &PublishedRotary::high_factor}};
    for (const ConfigurationEntry& entry : table) {
        if (entry.key.size() <= prefix.size() || !entry.key.starts_with(prefix) ||
            entry.key[prefix.size()] != '.')
            continue;
        const std::string_view name = entry.key.substr(prefix.size() + 1);
        const auto add_divisor = [&](double* divisors, int& count) {
            if (count < RotaryScaling::most_pairs) divisors[count] = table.require_real(entry.key);
            ++count;
        };
        bool is_known = name == "finetuned";
        for (const auto& number : numbers) {
            if (name != number.name) continue;
            read.*number.number = table.real(entry.key, 0);
            is_known = true;
        }
        if (name == "rope_type" || (name == "type" && read.kind.empty()))
            read.kind = table.text(entry.key, "");
        else if (name == "truncate")
            read.whole_bounds = table.boolean(entry.key, true);
        else if (name.starts_with("short_factor."))
            add_divisor(read.divisors.short_divisors, read.short_count);
        else if (name.starts_with("long_factor."))
            add_divisor(read.divisors.long_divisors, read.long_count);
        else if (name != "type" && !is_known)
            throw FileError(std::string(table.where()) + ": " + std::string(entry.key) +
                            ": expected no such setting of rotary positions: it is not supported");
    }
}

constexpr RotaryScalingKind rotary_kind_of(const ConfigurationTable& table, std::string_view prefix,
                                           std::string_view name) {
    const struct {
        std::string_view name;
        RotaryScalingKind kind;
    } kinds[] = {{"default", RotaryScalingKind::none},    {"", RotaryScalingKind::none},
                 {"linear", RotaryScalingKind::linear},   {"dynamic", RotaryScalingKind::dynamic_ntk},
                 {"yarn", RotaryScalingKind::yarn},       {"longrope", RotaryScalingKind::long_factors},
                 {"su", RotaryScalingKind::long_factors}, {"llama3", RotaryScalingKind::llama3}};
    for (const auto& kind : kinds)
        if (kind.name == name) return kind.kind;
    throw FileError(std::string(table.where()) + ": " + std::string(prefix) +
                    ".rope_type: expected default, linear, dynamic, yarn, longrope or llama3, got " +
                    std::string(name));
}

}  // namespace detail

/// Where a configuration leaves something out.
struct RotaryDefaults {
    double base = 10'000;
    double share = 1;              ///< of a head's elements that are turned
    std::string_view object = {};  ///< of settings; empty: rope_parameters, or rope_scaling
    std::string_view base_key = "rope_theta", share_key = "partial_rotary_factor";  ///< outside of the object
};

/// Reads the rotary base, width and scaling of a configuration into sizes, which have all else. The context
/// becomes what the scaling is for, where that is more. Throws FileError for settings that are not supported.
constexpr void read_rotary(const ConfigurationTable& table, TransformerSizes& sizes,
                           const RotaryDefaults& otherwise = {}) {
    detail::PublishedRotary read;
    std::string_view object = otherwise.object;
    if (object.empty()) {
        object = has_object(table, "rope_scaling") ? "rope_scaling" : "rope_parameters";
        if (object == "rope_scaling") detail::read_rotary_members(table, "rope_parameters", read);
    }
    detail::read_rotary_members(table, object, read);
    const auto fail = [&](std::string_view member, const std::string& expected, double value) {
        throw FileError(std::string(table.where()) + ": " + std::string(object) + "." + std::string(member) +
                        ": expected " + expected + ", got " + std::to_string(value));
    };

    sizes.rotary_base = read.base > 0 ? read.base : table.real(otherwise.base_key, otherwise.base);
    const double share = read.share > 0 ? read.share : table.real(otherwise.share_key, otherwise.share);
    if (!(share > 0 && share <= 1)) fail("partial_rotary_factor", "a number above 0, at most 1", share);
    const int head_width = sizes.head_width > 0 ? sizes.head_width : sizes.width / sizes.heads;
    sizes.rotary_width = static_cast<int>(head_width * share);
    if (sizes.rotary_width < 1) fail("partial_rotary_factor", "at least one element to turn", share);

    RotaryScaling scaling;
    scaling.kind = detail::rotary_kind_of(table, object, read.kind);
    if (scaling.kind == RotaryScalingKind::none) return;
    const double outside = table.real("original_max_position_embeddings", 0);
    const bool has_original = scaling.kind == RotaryScalingKind::yarn ||
                              scaling.kind == RotaryScalingKind::long_factors ||
                              scaling.kind == RotaryScalingKind::llama3;
    scaling.original_context = !has_original               ? sizes.context
                               : outside > 0               ? outside
                               : read.original_context > 0 ? read.original_context
                                                           : sizes.context;
    const bool infers_factor =
        scaling.kind == RotaryScalingKind::yarn || scaling.kind == RotaryScalingKind::long_factors;
    scaling.factor = read.factor > 0 ? read.factor : sizes.context / scaling.original_context;
    if (!(read.factor > 0 || (infers_factor && read.factor == 0)) || !(scaling.factor < 1e9))
        fail("factor", "a positive number", read.factor);
    if (!(scaling.original_context >= 1 && scaling.original_context < 0x80000000p0))
        fail("original_max_position_embeddings", "a number from 1 on", scaling.original_context);
    scaling.amplitude = read.amplitude;
    scaling.whole_bounds = read.whole_bounds;
    scaling.scale = read.scale;
    scaling.scale_of_all = read.scale_of_all;
    if (read.fast_turns != 0) scaling.fast_turns = read.fast_turns;
    if (read.slow_turns != 0) scaling.slow_turns = read.slow_turns;
    if (scaling.kind == RotaryScalingKind::llama3) {
        if (!(read.low_factor > 0)) fail("low_freq_factor", "a positive number", read.low_factor);
        if (!(read.high_factor > read.low_factor))
            fail("high_freq_factor", "a number above low_freq_factor", read.high_factor);
        scaling.low_factor = read.low_factor;
        scaling.high_factor = read.high_factor;
    }
    if (scaling.kind == RotaryScalingKind::long_factors) {
        const int pairs = (sizes.rotary_width + 1) / 2;
        if (pairs > RotaryScaling::most_pairs)
            fail("short_factor", "at most " + std::to_string(RotaryScaling::most_pairs) + " numbers", pairs);
        if (read.short_count != pairs)
            fail("short_factor", std::to_string(pairs) + " numbers", read.short_count);
        if (read.long_count != pairs)
            fail("long_factor", std::to_string(pairs) + " numbers", read.long_count);
        for (int i = 0; i < pairs; ++i) {
            scaling.short_divisors[i] = read.divisors.short_divisors[i];
            scaling.long_divisors[i] = read.divisors.long_divisors[i];
        }
    } else if (scaling.kind != RotaryScalingKind::llama3) {
        const double reach = scaling.factor * scaling.original_context;
        if (!(reach < 0x80000000p0)) fail("factor", "a context below 2^31", reach);
        sizes.context = std::max(sizes.context, static_cast<int>(reach));
    }
    sizes.rotary_scaling = scaling;
}

}  // namespace tenon
