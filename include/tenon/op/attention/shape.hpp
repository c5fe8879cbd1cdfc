#pragma once

#include <cstdint>

#include <tenon/core/host_device.hpp>

namespace tenon::kernel {

/// The extents of attention. The queries are the last `query_length` of the `key_length` positions. Head h
/// reads the keys and values of head h / (heads / key_value_heads).
struct AttentionShape {
    std::int64_t batch, heads, key_value_heads, query_length, key_length, key_width, value_width;

    TENON_HOST_DEVICE std::int64_t group() const { return heads / key_value_heads; }
};

/// Queries, keys, values or results: vectors of contiguous numbers, one for each batch, time and head.
template <class T>
struct AttentionOperand {
    T* data;
    std::int64_t batch_stride, time_stride, head_stride;

    TENON_HOST_DEVICE T* at(std::int64_t batch, std::int64_t time, std::int64_t head) const {
        return data + batch * batch_stride + time * time_stride + head * head_stride;
    }
};

/// What narrows the keys of a query besides the options: each is a null pointer where there is none, and a
/// query attends to what all of them allow.
struct AttentionMasks {
    /// [batch, key_length]: the first key that a position may attend to. The options' causal bounds the last.
    const int* document_start = nullptr;
    /// [batch]: keys from here on are padding.
    const int* key_length = nullptr;
    /// [batch, heads, query_length, key_length], by strides that may be 0; neighbouring keys lie together.
    const bool* allowed = nullptr;
    std::int64_t batch_stride = 0, head_stride = 0, query_stride = 0;

    TENON_HOST_DEVICE const bool* allowed_at(std::int64_t batch, std::int64_t head,
                                             std::int64_t query) const {
        return allowed + batch * batch_stride + head * head_stride + query * query_stride;
    }
};

}  // namespace tenon::kernel
