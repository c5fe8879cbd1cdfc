#pragma once

#include <cstdint>

#include <tenon/cuda/pack.cuh>
#include <tenon/cuda/reduce_axes.cuh>
#include <tenon/expression/reduction.hpp>

namespace tenon {
namespace cuda {

/// 1 for an element that equals the result, else 0.
template <class C, class T>
struct ReadTies {
    const T *x, *result;

    template <class Offsets>
    __device__ C operator()(std::int64_t k, const Offsets& at) const {
        return convert<C>(x[at.in[0]]) == convert<C>(result[k]) ? C(1) : C(0);
    }
};

/// Writes the result.
template <class R, class C, class T>
struct WriteReduced {
    T* out;
    double length;

    __device__ void operator()(std::int64_t k, double total) const {
        out[k] = rounded<T>(static_cast<C>(R::finish(total, length)));
    }
};

/// Divides the result's gradient by the number of elements that share it.
template <class C, class G>
struct WriteShare {
    const G* upstream;
    C* share;

    __device__ void operator()(std::int64_t k, double ties) const {
        share[k] = static_cast<C>(static_cast<double>(convert<C>(upstream[k])) / ties);
    }
};

/// Every element of the gradient gets its result's times a factor, N together.
template <int N, class C, class Given, class G>
__global__ void spread_gradient(const Given* given, C factor, const __grid_constant__ IndexSpace<1> space,
                                std::int64_t count, const Contribution<G> gradient) {
    const std::int64_t at = thread_number() * N;
    if (at >= count) return;
    C values[N];
    load(given + space.offsets(at).in[0], values);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] *= factor;
    contribute(gradient, at, values);
}

/// Elements that equal their result get its share, others 0.
template <class T, class C, class G>
__global__ void spread_share(const T* x, const T* result, const C* share,
                             const __grid_constant__ IndexSpace<2> space, std::int64_t count,
                             const Contribution<G> gradient) {
    const std::int64_t at = thread_number();
    if (at >= count) return;
    const auto [place, k] = space.offsets(at).in;
    contribute(gradient, at, convert<C>(x[place]) == convert<C>(result[k]) ? share[k] : C(0));
}

}  // namespace cuda

template <>
struct Kernel<ReduceAxis, Cuda> {
    /// out[i, k] = R over j of x[i, j, k], packed; it is overwritten.
    template <class R, class T>
    static void forward(const ArrayView<T>& x, int axis, T* out) {
        using C = ComputeOf<T>;
        run<R, C>(x, axis, cuda::ReadElements<C, T>{x.data},
                  cuda::WriteReduced<R, C, T>{out, static_cast<double>(x.extents[axis])});
    }

    /// The gradient of x is packed in x's shape; it is overwritten or accumulated.
    template <class R, class T, class G>
    static void backward(const ArrayView<T>& x, int axis, const T* result, const G* upstream,
                         const Contribution<G>& gradient) {
        using C = ComputeOf<T>;
        constexpr int threads = 256, n = 16 / sizeof(G);
        const std::int64_t inner = x.extents.count(axis + 1), count = x.extents.count();
        Strides to_result = row_major_strides(x.extents);
        to_result[axis] = 0;
        for (int a = 0; a < axis; ++a) to_result[a] /= x.extents[axis];
        const auto grid = [&](int each) {
            return cuda::Grid{cuda::blocks_for(count, std::int64_t{each} * threads, 0x7fffffff), threads};
        };
        if (count == 0) return;
        if constexpr (R::selects) {
            const Storage shares(
                Memory<Cuda>::allocate(static_cast<std::size_t>(count / x.extents[axis]) * sizeof(C)));
            auto* const share = static_cast<C*>(shares.data());
            run<reduction::Sum, C>(x, axis, cuda::ReadTies<C, T>{x.data, result},
                                   cuda::WriteShare<C, G>{upstream, share});
            cuda::IndexSpace<2> space;
            for (int a = 0; a < x.extents.rank; ++a) space.append(x.extents[a], x.strides[a], to_result[a]);
            cuda::launch(cuda::spread_share<T, C, G>, grid(1), x.data, result, share, space, count, gradient);
        } else {
            cuda::IndexSpace<1> space;
            for (int a = 0; a < x.extents.rank; ++a) space.append(x.extents[a], to_result[a]);
            const bool in_packs = inner % n == 0;
            cuda::launch(in_packs ? cuda::spread_gradient<n, C, G, G> : cuda::spread_gradient<1, C, G, G>,
                         grid(in_packs ? n : 1), upstream, R::share(C(x.extents[axis])), space, count,
                         gradient);
        }
    }

private:
    template <class R, class C, class T, class Read, class Finish>
    static void run(const ArrayView<T>& x, int axis, const Read& read, const Finish& finish) {
        cuda::AxesReduction<R, C, 1, Read, Finish> reduction{.read = read, .finish = finish};
        for (int a = 0; a < x.extents.rank; ++a)
            if (a != axis) reduction.kept.append(x.extents[a], x.strides[a]);
        reduction.length = x.extents[axis];
        reduction.reduced.append(reduction.length, x.strides[axis]);
        reduction.results = x.extents.count(0, axis) * x.extents.count(axis + 1);
        cuda::reduce_axes(reduction);
    }
};

}  // namespace tenon
