#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/nearest_names.hpp"

namespace tenon::detail {

/// The tensors of a file, in the order of their bytes, found by their names. An E has `name` and `bytes`.
template <class E>
class NamedTensors {
public:
    using Entry = E;

    /// The tensors, in the order of their bytes.
    const std::vector<Entry>& entries() const { return entries_; }
    auto begin() const { return entries_.begin(); }
    auto end() const { return entries_.end(); }
    std::size_t size() const { return entries_.size(); }
    /// Calls f(entry) for each tensor.
    template <class F>
    void for_each(F&& f) const {
        for (const Entry& entry : entries_) f(entry);
    }

    /// The file's path.
    const std::string& where() const { return where_; }

    /// The tensor of that name, or nullptr.
    const Entry* find(std::string_view name) const {
        auto position =
            std::lower_bound(by_name_.begin(), by_name_.end(), name,
                             [&](std::size_t i, std::string_view key) { return entries_[i].name < key; });
        if (position == by_name_.end() || entries_[*position].name != name) return nullptr;
        return &entries_[*position];
    }

    /// The tensor of that name. Throws a FileError that lists the nearest names.
    const Entry& at(std::string_view name) const {
        if (const Entry* entry = find(name)) return *entry;
        throw FileError(where_ + ": expected a tensor \"" + std::string(name) + "\", got none" +
                        nearest_names_message(name, entries_));
    }

protected:
    explicit NamedTensors(std::string where) : where_(std::move(where)) {}

    void sort_by_offset() {
        std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
            // An empty tensor begins where its successor does.
            return a.bytes.data() != b.bytes.data() ? a.bytes.data() < b.bytes.data()
                                                    : a.bytes.size() < b.bytes.size();
        });
    }

    /// Makes the index by which names are found, once the entries stay in their places. Throws FileError
    /// where a name repeats.
    void index_names() {
        by_name_.resize(entries_.size());
        for (std::size_t i = 0; i < by_name_.size(); ++i) by_name_[i] = i;
        std::sort(by_name_.begin(), by_name_.end(),
                  [&](std::size_t a, std::size_t b) { return entries_[a].name < entries_[b].name; });
        auto same = [&](std::size_t a, std::size_t b) { return entries_[a].name == entries_[b].name; };
        auto repeated = std::adjacent_find(by_name_.begin(), by_name_.end(), same);
        if (repeated == by_name_.end()) return;
        throw FileError(where_ + ": expected one tensor \"" + entries_[*repeated].name + "\", got several");
    }

    std::string where_;
    std::vector<Entry> entries_;

private:
    std::vector<std::size_t> by_name_;
};

}  // namespace tenon::detail
