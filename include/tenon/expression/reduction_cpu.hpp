#pragma once

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/expression/reduction.hpp>

namespace tenon {

/// Reduces an axis that is not the last by adding up whole rows: out[i, k] = R over j of x[i, j, k].
template <>
struct Kernel<ReduceAxis, Cpu> {
    /// out is packed and overwritten.
    template <class R, class T>
    static void forward(const ArrayView<T>& x, int axis, T* out) {
        using C = ComputeOf<T>;
        const Split split(x, axis);
        parallel_for(split.outer * split.inner, grain(split.length), [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t at = first; at < last; ++at) {
                const T* from = x.data + split.offset(x, at);
                C total = R::template identity<C>();
                for (std::int64_t j = 0; j < split.length; ++j) total = R::combine(total, load_as<C>(from + j * split.step));
                store_as(R::finish(total, C(split.length)), out + at);
            }
        });
    }

    /// The gradient of x is packed in x's shape; it is overwritten or accumulated.
    template <class R, class T, class C = ComputeOf<T>>
    static void backward(const ArrayView<T>& x, int axis, const T* result, const C* upstream,
                         Contribution<C> gradient) {
        const Split split(x, axis);
        parallel_for(split.outer * split.inner, grain(split.length), [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t at = first; at < last; ++at) {
                const T* from = x.data + split.offset(x, at);
                C share = upstream[at] * R::share(C(split.length));
                const C reduced = load_as<C>(result + at);
                if (R::selects) {
                    std::int64_t ties = 0;
                    for (std::int64_t j = 0; j < split.length; ++j) ties += load_as<C>(from + j * split.step) == reduced;
                    share /= C(ties);
                }
                C* to = gradient.data + at / split.inner * split.length * split.inner + at % split.inner;
                for (std::int64_t j = 0; j < split.length; ++j) {
                    const bool takes = !R::selects || load_as<C>(from + j * split.step) == reduced;
                    C& element = to[j * split.inner];
                    element = (gradient.accumulate ? element : C(0)) + (takes ? share : C(0));
                }
            }
        });
    }

private:
    /// The extents as [outer, length, inner] around the reduced axis.
    struct Split {
        std::int64_t outer, length, inner, step;
        int axis;

        template <class T>
        Split(const ArrayView<T>& x, int reduced)
            : outer(x.extents.count(0, reduced)),
              length(x.extents[reduced]),
              inner(x.extents.count(reduced + 1)),
              step(x.strides[reduced]),
              axis(reduced) {}

        template <class T>
        std::int64_t offset(const ArrayView<T>& x, std::int64_t at) const {
            std::int64_t offset = 0;
            for (int a = x.extents.rank - 1; a >= 0; --a) {
                if (a == axis) continue;
                offset += at % x.extents[a] * x.strides[a];
                at /= x.extents[a];
            }
            return offset;
        }
    };

    static std::int64_t grain(std::int64_t length) { return 1 + 16384 / (length + 1); }
};

}  // namespace tenon
