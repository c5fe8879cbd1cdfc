#pragma once

#include <tenon/expression/forward.cuh>
#include <tenon/expression/gradient.cuh>

namespace tenon {

/// Fused evaluation on a GPU: one kernel for the result, one for the gradients of all leaves, and a small one
/// for each leaf that was broadcast. `per_row`: the result has one element a row, made from reductions.
template <>
struct Kernel<Elementwise, Cuda> {
    /// out is overwritten.
    template <class Tree, bool per_row, class T, class C, int L, int K, int N>
    static void forward(const program::Run<C, L, K, N>& run, T* out) {
        cuda::fused::forward<Tree, per_row>(run, out);
    }

    /// `upstream` is packed.
    template <class Tree, bool per_row, class G, class C, int L, int K, int N>
    static void backward(const program::Run<C, L, K, N>& run, const G* upstream) {
        cuda::fused::backward<Tree, per_row>(run, upstream);
    }
};

}  // namespace tenon
