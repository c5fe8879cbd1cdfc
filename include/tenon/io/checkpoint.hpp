#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/json.hpp"
#include "tenon/io/nearest_names.hpp"
#include "tenon/io/safetensors.hpp"

namespace tenon {

/// The tensors of a checkpoint that may be split over several safetensors files.
class Checkpoint {
public:
    using Entry = SafetensorsEntry;

    /// Joins files. Throws FileError if a name is in two of them.
    explicit Checkpoint(std::vector<Safetensors> files, std::string where)
        : files_(std::move(files)), where_(std::move(where)) {
        for (const Safetensors& file : files_) {
            for (const SafetensorsEntry& entry : file) by_name_.push_back({entry.name, &entry, &file});
        }
        std::sort(by_name_.begin(), by_name_.end(),
                  [](const Named& a, const Named& b) { return a.name < b.name; });
        for (std::size_t i = 1; i < by_name_.size(); ++i) {
            if (by_name_[i - 1].name != by_name_[i].name) continue;
            throw FileError(where_ + ": expected one tensor \"" + std::string(by_name_[i].name) +
                            "\", got it in " + by_name_[i - 1].file->where() + " and in " +
                            by_name_[i].file->where());
        }
    }

    const std::vector<Safetensors>& files() const { return files_; }
    /// The folder or file.
    const std::string& where() const { return where_; }
    std::size_t size() const { return by_name_.size(); }
    /// Calls f(entry) for each tensor of all files.
    template <class F>
    void for_each(F&& f) const {
        for (const Named& named : by_name_) f(*named.entry);
    }

    /// The tensor of that name, or nullptr.
    const SafetensorsEntry* find(std::string_view name) const {
        const Named* named = find_named(name);
        return named ? named->entry : nullptr;
    }

    /// The file that holds the tensor of that name, or nullptr.
    const Safetensors* file_of(std::string_view name) const {
        const Named* named = find_named(name);
        return named ? named->file : nullptr;
    }

    /// The tensor of that name. Throws a FileError that lists the nearest names.
    const SafetensorsEntry& at(std::string_view name) const {
        if (const SafetensorsEntry* entry = find(name)) return *entry;
        throw FileError(where_ + ": expected a tensor \"" + std::string(name) + "\", got none" +
                        detail::nearest_names_message(name, by_name_));
    }

private:
    struct Named {
        std::string_view name;
        const SafetensorsEntry* entry;
        const Safetensors* file;
    };

    const Named* find_named(std::string_view name) const {
        auto position =
            std::lower_bound(by_name_.begin(), by_name_.end(), name,
                             [](const Named& named, std::string_view key) { return named.name < key; });
        return position != by_name_.end() && position->name == name ? &*position : nullptr;
    }

    std::vector<Safetensors> files_;
    std::string where_;
    std::vector<Named> by_name_;
};

/// Opens a checkpoint folder: the files that its model.safetensors.index.json lists, or else its
/// model.safetensors. A tensor that is not in the file where the index has it is an error. Throws FileError.
inline Checkpoint open_checkpoint(const std::string& folder) {
    std::string index_path = folder + "/model.safetensors.index.json";
    std::vector<Safetensors> files;
    if (!path_exists(index_path)) {
        files.push_back(Safetensors::open(folder + "/model.safetensors"));
        return Checkpoint(std::move(files), folder);
    }

    JsonDocument document = parse_json(read_file(index_path), index_path);
    Json weight_map = document.root().at("weight_map");
    std::vector<std::string_view> names;
    for (Json file_name : weight_map.members()) {
        std::string_view name = file_name.text();
        // An index must not reach outside its folder.
        if (name.empty() || name.find('/') != name.npos)
            file_name.fail("the name of a file in the same folder");
        names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    for (std::string_view name : names) files.push_back(Safetensors::open(folder + "/" + std::string(name)));

    Checkpoint checkpoint(std::move(files), folder);
    for (Json file_name : weight_map.members()) {
        const Safetensors* file = checkpoint.file_of(file_name.key());
        if (file && file->where() == folder + "/" + std::string(file_name.text())) continue;
        file_name.fail("the file that holds this tensor (" +
                       (file ? file->where() : std::string("there is none")) + ")");
    }
    return checkpoint;
}

}  // namespace tenon
