#pragma once

#include <cstddef>
#include <cstdint>

namespace tenon {

/// Some of a model's layers, by their numbers, which are below `capacity`.
class LayerSet {
public:
    static constexpr int capacity = 256;

    constexpr void insert(int layer) { word(layer) |= std::uint64_t{1} << (layer % 64); }
    constexpr bool has(int layer) const {
        return layer < capacity && (words_[static_cast<std::size_t>(layer / 64)] >> (layer % 64) & 1) != 0;
    }
    /// How many of the first `depth` layers are in the set.
    constexpr int count(int depth) const {
        int result = 0;
        for (int layer = 0; layer < depth && layer < capacity; ++layer) result += has(layer);
        return result;
    }

    friend constexpr bool operator==(const LayerSet&, const LayerSet&) = default;

private:
    constexpr std::uint64_t& word(int layer) { return words_[static_cast<std::size_t>(layer / 64)]; }

    std::uint64_t words_[capacity / 64] = {};
};

}  // namespace tenon
