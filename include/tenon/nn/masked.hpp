#pragma once

#include <tuple>

#include <tenon/op/attention/attention.hpp>

namespace tenon {

/// The memory of a pass over whole sequences, which is none, and the masks of its attention (see
/// `attention`): what SelfAttention takes in place of a cache.
template <AttentionMask... Masks>
struct Masked {
    static constexpr int length = 0;
    std::tuple<Masks...> masks;

    template <class Q, class K, class V>
    auto attend(const Q& queries, const K& keys, const V& values, const AttentionOptions& options) const {
        return std::apply(
            [&](const Masks&... each) { return attention(queries, keys, values, options, each...); }, masks);
    }
};

}  // namespace tenon
