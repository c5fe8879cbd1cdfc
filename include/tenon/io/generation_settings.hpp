#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tenon/inference/sampling.hpp>
#include <tenon/io/file.hpp>
#include <tenon/io/gguf_metadata.hpp>
#include <tenon/io/mapped_file.hpp>
#include <tenon/io/read_configuration.hpp>

namespace tenon {

/// How a checkpoint's files say that its model should write.
struct GenerationSettings {
    SamplingOptions sampling = {.temperature = 0.8, .top_p = 0.95};  ///< these where files say nothing
    std::vector<std::int32_t> ends;                                  ///< tokens that end an answer
};

namespace detail {

inline void add_end(GenerationSettings& settings, std::int64_t token) {
    const auto end = static_cast<std::int32_t>(token);
    if (token < 0 || token > INT32_MAX) return;
    if (std::find(settings.ends.begin(), settings.ends.end(), end) == settings.ends.end())
        settings.ends.push_back(end);
}

/// One number, or a list of them.
inline void add_ends(GenerationSettings& settings, const ConfigurationTable& table) {
    for (const ConfigurationEntry& entry : table)
        if (entry.kind == ConfigurationKind::integer &&
            (entry.key == "eos_token_id" || entry.key.starts_with("eos_token_id.")))
            add_end(settings, entry.integer);
}

inline GenerationSettings gguf_generation_settings(const std::string& path) {
    const MappedFile file(path);
    return with_place(path, [&] {
        const GgufMetadata metadata(
            {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
        const auto number = [&](std::string_view key, double otherwise) {
            const GgufValue* const value = metadata.find(key);
            if (!value || value->is_text() || value->count != 1) return otherwise;
            return value->is_real() ? value->reals()[0] : static_cast<double>(value->integers()[0]);
        };
        GenerationSettings settings;
        SamplingOptions& sampling = settings.sampling;
        sampling.temperature = number("general.sampling.temp", sampling.temperature);
        const double top_k = number("general.sampling.top_k", 0);
        sampling.top_k = top_k > 0 && top_k < 1e9 ? static_cast<int>(top_k) : 0;
        sampling.top_p = number("general.sampling.top_p", sampling.top_p);
        sampling.repetition_penalty = number("general.sampling.penalty_repeat", sampling.repetition_penalty);
        for (const char* const name : {"eos", "eot", "eom"})
            if (const GgufValue* const value =
                    metadata.find("tokenizer.ggml." + std::string(name) + "_token_id"))
                for (const std::int64_t token : value->integers()) add_end(settings, token);
        require_valid(sampling);
        return settings;
    });
}

}  // namespace detail

/// The settings of a checkpoint's folder, by its generation_config.json and as transformers has them: it
/// draws only where `do_sample` says so. Without such a file, the ends are config.json's. Or of a GGUF file,
/// by its metadata. Throws FileError.
inline GenerationSettings read_generation_settings(const std::string& path) {
    if (path.ends_with(".gguf")) return detail::gguf_generation_settings(path);
    GenerationSettings settings;
    if (const std::string file = path + "/generation_config.json"; path_exists(file)) {
        const OwnedConfiguration configuration = read_configuration(file);
        const ConfigurationTable table = configuration.table();
        settings.sampling = {.temperature = 0};
        if (table.boolean("do_sample", false)) {
            settings.sampling.temperature = table.real("temperature", 1);
            settings.sampling.top_k =
                static_cast<int>(std::clamp<std::int64_t>(table.integer("top_k", 50), 0, INT32_MAX));
            settings.sampling.top_p = table.real("top_p", 1);
        }
        settings.sampling.repetition_penalty = table.real("repetition_penalty", 1);
        detail::add_ends(settings, table);
    }
    if (settings.ends.empty()) {
        const OwnedConfiguration configuration = read_configuration(path + "/config.json");
        detail::add_ends(settings, configuration.table());
    }
    return detail::with_place(path, [&] {
        require_valid(settings.sampling);
        return settings;
    });
}

}  // namespace tenon
