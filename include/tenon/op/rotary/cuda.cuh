#pragma once

#include <cstdint>

#include <tenon/cuda/fault.hpp>
#include <tenon/cuda/index.cuh>
#include <tenon/cuda/launch.cuh>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/pack.cuh>
#include <tenon/op/rotary/rotary.hpp>

namespace tenon {
namespace cuda {

/// What a thread of `turn_pairs` needs to know.
template <class T, class C>
struct Rotation {
    const T* x;
    Strides steps;  // of x
    const C *cosine, *sine;
    RotaryPositions positions;
    int table_positions;
    C direction;     // -1: back
    Divisor groups;  // of 2 N elements, to a head
    int turned;      // of them; the others stay as they are
    Divisor heads, time;
    std::int64_t count;  // of groups in all
    Fault* fault;
    const char* expected;
    Contribution<T> y;
};

/// A thread turns N pairs of a head: 2 N elements side by side, or N and those half a head further.
template <int N, bool interleaved, class T, class C>
__global__ void turn_pairs(const __grid_constant__ Rotation<T, C> r) {
    const std::int64_t number = thread_number();
    if (number >= r.count) return;
    std::int64_t batch = number;
    const int group = static_cast<int>(r.groups.divide(batch)),
              head = static_cast<int>(r.heads.divide(batch)), t = static_cast<int>(r.time.divide(batch));
    const int half = r.turned * N;
    std::int64_t position = r.positions.at(batch, t);
    if (position < 0 || position >= r.table_positions) {
        report_fault(r.fault, r.expected, r.table_positions, position, batch * r.positions.batch_stride + t);
        position = 0;
    }
    const T* const from = r.x + batch * r.steps[0] + t * r.steps[1] + head * r.steps[2];
    const std::int64_t to = (number - group) * 2 * N;
    // A single element may lie anywhere; several lie side by side.
    const auto read = [&](int at, auto& values) {
        if constexpr (N > 1)
            load(from + at, values);
        else
            for (C& value : values) value = convert<C>(from[at++ * r.steps[3]]);
    };
    if (group >= r.turned) {
        for (int at = 2 * N * group; at < 2 * N * (group + 1); at += N) {
            C kept[N];
            read(at, kept);
            contribute(r.y, to + at, kept);
        }
        return;
    }
    C cosine[N], sine[N];
    load(r.cosine + position * half + N * group, cosine);
    load(r.sine + position * half + N * group, sine);
    const auto turn = [&](int i, C& u, C& v) {
        const C s = r.direction * sine[i], turned = u * cosine[i] - v * s;
        v = u * s + v * cosine[i];
        u = turned;
    };
    if constexpr (interleaved) {
        C pairs[2 * N];
        read(2 * N * group, pairs);
#pragma unroll
        for (int i = 0; i < N; ++i) turn(i, pairs[2 * i], pairs[2 * i + 1]);
        contribute(r.y, to + 2 * N * group, pairs);
    } else {
        C first[N], second[N];
        read(N * group, first);
        read(N * group + half, second);
#pragma unroll
        for (int i = 0; i < N; ++i) turn(i, first[i], second[i]);
        contribute(r.y, to + N * group, first);
        contribute(r.y, to + N * group + half, second);
    }
}

}  // namespace cuda

template <>
struct Kernel<Rotary, Cuda> {
    /// y (+)= x turned by its positions' angles, or back. y is packed. A position that is not in the table is
    /// reported as a fault.
    template <class T, class C>
    static void run(const ArrayView<T>& x, const RotaryTable<C, Cuda>& table,
                    const RotaryPositions& positions, RotaryPairs pairs, bool back,
                    const Contribution<T>& y) {
        constexpr int n = 16 / sizeof(T);
        bool in_packs = x.strides[3] == 1 && x.extents[3] % (2 * n) == 0 && table.pairs() % n == 0 &&
                        cuda::is_aligned<n>(x.data);
        for (int axis = 0; axis < 3; ++axis) in_packs = in_packs && x.strides[axis] % n == 0;
        const auto turn = [&](auto* kernel, int each) {
            constexpr int threads = 256;
            const int groups = x.extents[3] / (2 * each);
            const std::int64_t count = x.extents.count(0, 3) * groups;
            if (count == 0) return;
            const cuda::Rotation<T, C> rotation{x.data,
                                                x.strides,
                                                table.cosine.data(),
                                                table.sine.data(),
                                                positions,
                                                table.positions(),
                                                back ? C(-1) : C(1),
                                                cuda::Divisor(groups),
                                                table.pairs() / each,
                                                cuda::Divisor(x.extents[2]),
                                                cuda::Divisor(x.extents[1]),
                                                count,
                                                cuda::fault(),
                                                "rotary: expected positions below",
                                                y};
            cuda::launch(kernel, {cuda::blocks_for(count, threads, count), threads}, rotation);
        };
        if (pairs == RotaryPairs::interleaved)
            in_packs ? turn(cuda::turn_pairs<n / 2, true, T, C>, n / 2)
                     : turn(cuda::turn_pairs<1, true, T, C>, 1);
        else
            in_packs ? turn(cuda::turn_pairs<n, false, T, C>, n) : turn(cuda::turn_pairs<1, false, T, C>, 1);
    }
};

}  // namespace tenon
