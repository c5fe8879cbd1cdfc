#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

#include <tenon/io/atomic_file.hpp>
#include <tenon/io/checksum.hpp>
#include <tenon/io/folder.hpp>
#include <tenon/io/list_text.hpp>
#include <tenon/io/safetensors.hpp>
#include <tenon/io/safetensors_write.hpp>
#include <tenon/training/training_state.hpp>

namespace tenon {

// A folder of checkpoints holds `step-00001234/training.safetensors`, and so on: everything a TrainingState
// views as tensors, its settings and a checksum as metadata. The file is renamed into place once it is on the
// disk: a step's folder that has one is whole, and one without is what a killed run left. A file that was
// damaged later is set aside, as `training.safetensors.damaged`, when a run is taken up from an older one, so
// that it is not counted among those that are kept; it goes once that run has written a checkpoint.

/// The path of a step's checkpoint.
inline std::string checkpoint_path(const std::string& folder, std::int64_t step) {
    char name[48];
    std::snprintf(name, sizeof name, "/step-%08lld/training.safetensors", static_cast<long long>(step));
    return folder + name;
}

namespace detail {

/// The step that the name of a checkpoint's folder tells.
inline std::optional<std::int64_t> checkpoint_step(std::string_view name) {
    constexpr std::string_view prefix = "step-";
    std::int64_t step = 0;
    if (!name.starts_with(prefix) || name.size() < prefix.size() + 8) return std::nullopt;
    const char *begin = name.data() + prefix.size(), *last = name.data() + name.size();
    const auto [end, error] = std::from_chars(begin, last, step);
    // One step, one name.
    if (error != std::errc() || end != last ||
        folder_of(checkpoint_path("", step)) != "/" + std::string(name))
        return std::nullopt;
    return step;
}

/// Where a step's checkpoint is set aside that is damaged.
inline std::string damaged_path(const std::string& folder, std::int64_t step) {
    return checkpoint_path(folder, step) + ".damaged";
}

/// The steps that folders within a folder are named after, ascending, whatever is in them. Throws FileError.
inline std::vector<std::int64_t> named_steps(const std::string& folder) {
    std::vector<std::int64_t> steps;
    for (const std::string& name : names_in_folder(folder))
        if (const std::optional<std::int64_t> step = checkpoint_step(name)) steps.push_back(*step);
    std::sort(steps.begin(), steps.end());
    return steps;
}

/// Removes a step's folder, unless somebody has put something else there.
inline void remove_empty(const std::string& step_folder) {
    ::rmdir(step_folder.c_str());  // fails where it is not empty, as it should
}

/// Removes the file of a step, and what a killed run has left of one; then the step's folder.
inline void remove_checkpoint(const std::string& path) {
    remove_file(path);
    remove_unfinished(path);
    remove_empty(folder_of(path));
}

inline std::uint64_t checksum_of(std::string_view text, std::uint64_t start = 0) {
    return checksum(std::as_bytes(std::span(text)), start);
}

using Metadata = std::vector<std::pair<std::string, std::string>>;

/// The checksum of a checkpoint's tensors and metadata, each in any order; but for the checksum itself.
template <class Tensors>
std::string checkpoint_checksum(const Tensors& tensors, const Metadata& metadata) {
    std::uint64_t sum = 0;
    for (const auto& tensor : tensors) sum += checksum(tensor.bytes, checksum_of(tensor.name));
    for (const auto& [key, value] : metadata)
        if (key != "checksum") sum += checksum_of(value, checksum_of(key));
    char text[24];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum));
    return text;
}

/// A text of a file's metadata; "none" where there is none.
inline std::string metadata_of(const Safetensors& file, std::string_view key) {
    for (const auto& [name, value] : file.metadata())
        if (name == key) return value;
    return "none";
}

/// The key under which a setting is written is this and its name.
inline constexpr std::string_view setting_prefix = "setting.";

inline std::string setting_of(const Safetensors& file, const std::string& name) {
    return metadata_of(file, std::string(setting_prefix) + name);
}

/// Opens a checkpoint and reads all of it. Throws FileError where it is damaged.
inline Safetensors open_training_checkpoint(const std::string& path) {
    Safetensors file = Safetensors::open(path);
    const std::string expected = metadata_of(file, "checksum");
    const std::string found = checkpoint_checksum(file, file.metadata());
    if (expected != found)
        throw FileError(path + ": expected tensors and settings of checksum " + expected + ", got " + found);
    return file;
}

inline std::string described(ElementType type, const std::vector<std::int64_t>& shape) {
    return std::string(name_of(type)) + " " + list_text(shape);
}

/// What keeps a run from going on where a file left off, a line for each difference.
inline std::string differences(const TrainingState& state, const Safetensors& file) {
    std::string lines;
    const auto add = [&](const std::string& name, const std::string& expected, const std::string& got) {
        lines += "\n  " + name + ": expected " + expected + ", got " + got;
    };
    std::vector<std::string_view> names;
    for (const TrainingState::Setting& setting : state.settings()) {
        names.push_back(setting.name);
        const std::string got = setting_of(file, setting.name);
        if (!setting.may_change && got != setting.value) add(setting.name, setting.value, got);
    }
    for (const auto& [key, value] : file.metadata()) {
        if (!key.starts_with(setting_prefix)) continue;
        const std::string name = key.substr(setting_prefix.size());
        if (std::find(names.begin(), names.end(), name) == names.end()) add(name, "none", value);
    }
    names.clear();
    for (const TrainingState::Item& item : state.items()) {
        names.push_back(item.name);
        const SafetensorsEntry* entry = file.find(item.name);
        const std::string expected = described(item.type, item.shape);
        const std::string got = entry ? described(entry->type, entry->shape) : "none";
        if (got != expected) add(item.name, expected, got);
    }
    std::sort(names.begin(), names.end());
    for (const SafetensorsEntry& entry : file)
        if (!std::binary_search(names.begin(), names.end(), entry.name))
            add(entry.name, "none", described(entry.type, entry.shape));
    return lines;
}

}  // namespace detail

/// The steps of which a folder has checkpoints, ascending, whole or damaged. Throws FileError.
inline std::vector<std::int64_t> checkpoint_steps(const std::string& folder) {
    std::vector<std::int64_t> steps = detail::named_steps(folder);
    std::erase_if(steps, [&](std::int64_t step) { return !path_exists(checkpoint_path(folder, step)); });
    return steps;
}

namespace detail {

/// Removes the checkpoints that were damaged, and set aside.
inline void remove_damaged(const std::string& folder) {
    for (const std::int64_t step : named_steps(folder)) {
        const std::string path = damaged_path(folder, step);
        if (!path_exists(path)) continue;
        remove_file(path);
        remove_empty(folder_of(path));
    }
}

}  // namespace detail

/// Writes a checkpoint of a run that has done `step` steps, whole or not at all, and then removes all but the
/// `keep` newest up to that step: the run can go on from the last whole one whenever it is killed. Throws
/// FileError, Error for a step below 0 or to keep less than 1, and what a part of the state throws that
/// cannot be written now.
inline void save_training(const std::string& folder, std::int64_t step, const TrainingState& state,
                          int keep = 3) {
    if (step < 0 || keep < 1)
        throw Error("checkpoint: expected a step of at least 0, and to keep at least 1, got " +
                    std::to_string(step) + " and " + std::to_string(keep));
    state.require_checkpoint();
    std::vector<SafetensorsTensor> tensors;
    std::vector<std::vector<std::byte>> copies;  // of what a device has
    for (const TrainingState::Item& item : state.items()) {
        std::span<const std::byte> bytes = item.bytes;
        if (item.copy) {
            std::vector<std::byte>& copy = copies.emplace_back(bytes.size());
            item.copy(bytes.data(), static_cast<std::int64_t>(bytes.size()), copy.data());
            bytes = copy;
        }
        tensors.push_back({item.name, item.type, item.shape, bytes});
    }
    detail::Metadata metadata = {{"format", "tenon training checkpoint"}};
    for (const TrainingState::Setting& setting : state.settings())
        metadata.emplace_back(std::string(detail::setting_prefix) + setting.name, setting.value);
    metadata.emplace_back("checksum", detail::checkpoint_checksum(tensors, metadata));

    const std::string path = checkpoint_path(folder, step);
    create_folder(folder_of(path));
    try {
        write_safetensors(path, std::move(tensors), metadata);
    } catch (...) {
        detail::remove_empty(folder_of(path));  // an earlier one may be in it
        throw;
    }
    flush_folder(folder);
    detail::remove_damaged(folder);
    // Newer ones are another run's.
    std::vector<std::int64_t> steps = checkpoint_steps(folder);
    steps.erase(std::upper_bound(steps.begin(), steps.end(), step), steps.end());
    for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < steps.size(); ++i)
        detail::remove_checkpoint(checkpoint_path(folder, steps[i]));
}

/// What a run was taken up from.
struct ResumedTraining {
    std::int64_t step;
    std::string path;
    std::vector<std::string> notes;  ///< newer checkpoints that are damaged, and settings that have changed
};

/// Fills everything that `state` views from the newest checkpoint of a folder that is whole; nothing where
/// the folder has none. Newer ones, which are damaged, are set aside until the next is written. Throws
/// FileError, and changes nothing, where that one is of another run, with a line for every setting and tensor
/// that differs, and where all are damaged; and what a part of the state throws that cannot be filled now.
inline std::optional<ResumedTraining> load_training(const std::string& folder, const TrainingState& state) {
    state.require_checkpoint();
    std::vector<std::int64_t> steps = checkpoint_steps(folder);
    std::reverse(steps.begin(), steps.end());
    std::vector<std::string> notes;
    for (const std::int64_t step : steps) {
        const std::string path = checkpoint_path(folder, step);
        std::optional<Safetensors> file;
        try {
            file = detail::open_training_checkpoint(path);
        } catch (const FileError& error) {
            notes.push_back(std::string("damaged, and passed over: ") + error.what());
            continue;
        }
        const std::string lines = detail::differences(state, *file);
        if (!lines.empty()) throw FileError(path + ": expected a checkpoint of this run:" + lines);
        for (const TrainingState::Item& item : state.items())
            item.read_from(file->at(item.name).bytes.data());
        for (const TrainingState::Setting& setting : state.settings()) {
            const std::string before = detail::setting_of(*file, setting.name);
            if (before != setting.value)
                notes.push_back(setting.name + " was " + before + ", and is now " + setting.value);
        }
        // Where the folder cannot be written to, nothing will be removed from it either.
        for (const std::int64_t newer : steps)
            if (newer > step)
                std::rename(checkpoint_path(folder, newer).c_str(),
                            detail::damaged_path(folder, newer).c_str());
        return ResumedTraining{step, path, notes};
    }
    if (notes.empty()) return std::nullopt;
    std::string message = folder + ": expected a checkpoint that is whole, got none:";
    for (const std::string& note : notes) message += "\n  " + note;
    throw FileError(message);
}

/// Removes what a killed run left in a folder of checkpoints while it wrote or removed one. Not for a folder
/// in which another process is writing. Throws FileError.
inline void remove_unfinished_checkpoints(const std::string& folder) {
    for (const std::int64_t step : detail::named_steps(folder)) {
        const std::string path = checkpoint_path(folder, step);
        remove_unfinished(path);
        detail::remove_empty(folder_of(path));
    }
}

}  // namespace tenon
