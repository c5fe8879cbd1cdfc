#pragma once

#include <cstdint>

#include <tenon/core/extents.hpp>
#include <tenon/cuda/device.hpp>
#include <tenon/op/attention/cuda_backward.cuh>
#include <tenon/op/attention/cuda_exact.cuh>
#include <tenon/op/attention/cuda_forward.cuh>

namespace tenon::cuda {

/// The width of the tiles that heads of a width are padded to; 0 where there are none.
constexpr int tile_width(std::int64_t width) {
    if (width <= 0 || width % 8 != 0) return 0;
    for (const int tile : {32, 64, 96, 128, 192, 256})
        if (width <= tile) return tile;
    return 0;
}

/// Tilings for widths of keys and values. The widest, and as far as not said otherwise below.
template <int key_width, int value_width>
struct AttentionTiling {
    using Forward = ForwardTiling<key_width, value_width, 8, 16, 32, 1>;
    using Backward = BackwardTiling<key_width, value_width, 8, 16, 32, 16, 1, 2>;
};
template <int key_width, int value_width>
    requires(key_width <= 64 && value_width <= 64)
struct AttentionTiling<key_width, value_width> {
    using Forward = ForwardTiling<key_width, value_width, 4, 32, 64, 2>;
    using Backward = BackwardTiling<key_width, value_width, 4, 32, 64, 32, 2>;
};
template <int key_width, int value_width>
    requires((key_width > 64 || value_width > 64) && key_width <= 128 && value_width <= 128)
struct AttentionTiling<key_width, value_width> {
    using Forward = ForwardTiling<key_width, value_width, 4, 32, 32, 2>;
    using Backward = BackwardTiling<key_width, value_width, 8, 32, 64, 32, 1, 2>;
};
template <int value_width>
    requires(value_width <= 128)
struct AttentionTiling<192, value_width> {
    using Forward = ForwardTiling<192, value_width, 8, 16, 64, 1>;
    using Backward = BackwardTiling<192, value_width, 8, 16, 32, 32, 1>;
};

/// The kernels of attention: exact ones, which take everything, and tiles on tensor cores, for elements of 16
/// bits.
enum class AttentionPath { exact, tiles };

template <class T>
bool suits_tiles(const kernel::AttentionOperand<T>& x) {
    return is_aligned<8>(x.data) && x.batch_stride % 8 == 0 && x.time_stride % 8 == 0 &&
           x.head_stride % 8 == 0;
}

/// The path of a call, `shared_bytes` being what its tiles take. (A path for Hopper's own instructions would
/// be chosen here.)
template <class T, class... Operands>
AttentionPath attention_path(const kernel::AttentionShape& shape, int shared_bytes,
                             const Operands&... operands) {
    constexpr std::int64_t most = std::int64_t{1} << 30;  // positions are ints there
    const bool suits = is_half<T> && shape.query_length > 0 && shape.key_length > 0 &&
                       shape.key_width % 8 == 0 && shape.value_width % 8 == 0 && shape.query_length < most &&
                       shape.key_length < most && (suits_tiles(operands) && ...) &&
                       shared_bytes <= device_properties().shared_bytes;
    return suits ? AttentionPath::tiles : AttentionPath::exact;
}

/// Whether a call needs more than causal order and scaled products.
inline bool is_general(const AttentionOptions& options, const kernel::AttentionMasks& masks) {
    return options.alibi || options.window > 0 || options.soft_cap > 0 || masks.document_start != nullptr ||
           masks.key_length != nullptr || masks.allowed != nullptr;
}

template <class Tiling, class T>
void attend(const AttentionForward<T>& call) {
    using Forward = typename Tiling::Forward;
    if (attention_path<T>(call.shape, Forward::template Shared<T>::bytes, call.queries, call.keys,
                          call.values, call.out) == AttentionPath::exact)
        return attend_exactly(call);
    if (is_general(call.options, call.masks))
        attend_by_tiles<T, Forward, true>(call);
    else
        attend_by_tiles<T, Forward, false>(call);
}

template <class Tiling, class T>
void attend(const AttentionBackward<T>& call) {
    using Backward = typename Tiling::Backward;
    if (attention_path<T>(call.shape, Backward::template Shared<T>::bytes, call.queries, call.keys,
                          call.values, call.out, call.grad_out) == AttentionPath::exact)
        return attend_exactly(call);
    if (is_general(call.options, call.masks))
        attend_backward_by_tiles<T, Backward, true>(call);
    else
        attend_backward_by_tiles<T, Backward, false>(call);
}

/// Runs a call, forward or backward, whose heads tiles of `key_tile` and `value_tile` hold; 0 if none do, -1
/// if that is known only now.
template <int key_tile, int value_tile, template <class> class Call, class T>
void attend_in(const Call<T>& call) {
    if constexpr (!is_half<T> || key_tile == 0 || value_tile == 0) {
        attend_exactly(call);
    } else if constexpr (key_tile > 0 && value_tile > 0) {
        attend<AttentionTiling<key_tile, value_tile>>(call);
    } else {
        // Few, since each takes its time to compile.
        const int key = tile_width(call.shape.key_width), value = tile_width(call.shape.value_width),
                  width = key > value ? key : value;
        if (key == 0 || value == 0)
            attend_exactly(call);
        else if (width <= 64)
            attend<AttentionTiling<64, 64>>(call);
        else if (width <= 128)
            attend<AttentionTiling<128, 128>>(call);
        else
            attend<AttentionTiling<256, 256>>(call);
    }
}

}  // namespace tenon::cuda
