#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/hash_tables.hpp"

namespace tenon::detail {

/// Byte strings with numbers, as a tree of bytes: finds all that a text begins with in one walk.
class ByteTrie {
public:
    ByteTrie() : ByteTrie(std::vector<std::pair<std::string_view, std::uint32_t>>{}) {}

    /// Of strings that are given twice, the greatest number counts.
    explicit ByteTrie(std::vector<std::pair<std::string_view, std::uint32_t>> strings) {
        std::sort(strings.begin(), strings.end());
        // Breadth first: the children of a node lie together, in the order of their bytes.
        struct Range {
            std::size_t begin, end, depth;
        };
        std::vector<Range> ranges{{0, strings.size(), 0}};
        nodes_.push_back({});
        labels_.push_back(0);
        for (std::size_t node = 0; node < ranges.size(); ++node) {
            auto [begin, end, depth] = ranges[node];
            while (begin < end && strings[begin].first.size() == depth)
                nodes_[node].value = strings[begin++].second;
            nodes_[node].first_child = static_cast<std::uint32_t>(nodes_.size());
            while (begin < end) {
                const char label = strings[begin].first[depth];
                std::size_t stop = begin + 1;
                while (stop < end && strings[stop].first[depth] == label) ++stop;
                ranges.push_back({begin, stop, depth + 1});
                nodes_.push_back({});
                labels_.push_back(static_cast<unsigned char>(label));
                begin = stop;
            }
        }
        nodes_.push_back({static_cast<std::uint32_t>(nodes_.size()), absent});
        for (std::uint32_t& child : root_) child = absent;
        for (std::uint32_t child = nodes_[0].first_child; child < nodes_[1].first_child; ++child)
            root_[labels_[child]] = child;
    }

    static constexpr std::uint32_t root = 0;

    /// The node that a byte leads to, or `absent`.
    std::uint32_t child_of(std::uint32_t node, char byte) const {
        const auto label = static_cast<unsigned char>(byte);
        if (node == root) return root_[label];
        const unsigned char* const begin = labels_.data() + nodes_[node].first_child;
        const unsigned char* const end = labels_.data() + nodes_[node + 1].first_child;
        const unsigned char* found = begin;
        if (end - begin <= 8) {
            while (found < end && *found != label) ++found;
        } else {
            found = std::lower_bound(begin, end, label);
        }
        return found < end && *found == label ? static_cast<std::uint32_t>(found - labels_.data()) : absent;
    }

    /// The number of the string that ends at a node, or `absent`.
    std::uint32_t value_at(std::uint32_t node) const { return nodes_[node].value; }

    /// Calls visit(size, number) for each string that the text begins with, from the shortest on.
    template <class Visit>
    void for_each_prefix(std::string_view text, Visit&& visit) const {
        std::uint32_t node = root;
        for (std::size_t at = 0; at < text.size(); ++at) {
            node = child_of(node, text[at]);
            if (node == absent) return;
            if (value_at(node) != absent) visit(at + 1, value_at(node));
        }
    }

private:
    struct Node {
        std::uint32_t first_child = 0;
        std::uint32_t value = absent;
    };

    std::vector<Node> nodes_;  // and one more, which ends the last one's children
    std::vector<unsigned char> labels_;
    std::uint32_t root_[256];
};

}  // namespace tenon::detail
