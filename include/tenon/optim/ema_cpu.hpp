#pragma once

#include <cstdint>
#include <vector>

#include <tenon/core/packet.hpp>
#include <tenon/optim/elementwise_cpu.hpp>
#include <tenon/optim/ema.hpp>
#include <tenon/optim/packets.hpp>
#include <tenon/optim/weights_cpu.hpp>

namespace tenon {

template <>
struct Kernel<EmaUpdate, Cpu> {
    template <class T>
    class Pass {
    public:
        using C = ComputeOf<T>;

        Pass() = default;
        explicit Pass(const std::vector<Average<T>>& averages) {
            for (const Average<T>& average : averages)
                items_.push_back({average.weights(), average.wide_weights(), average.data(), average.size()});
        }

        void prepare(C share) { share_ = share; }
        void run() {
            for (const Item& item : items_) update(item, share_);
        }

    private:
        struct Item {
            const T* weights;
            const C* wide;  // the weights, where they are of the average's type
            C* average;
            std::int64_t count;
        };

        static void update(const Item& item, C share) {
            using V = Packet<C>;
            detail::for_each_packet<C>(item.count, [=](std::int64_t at, int lanes) {
                const V old = V::load_partial(item.average + at, lanes);
                const V weights = item.wide ? V::load_partial(item.wide + at, lanes)
                                            : detail::load_elements<V>(item.weights + at, lanes);
                fma(V(share), weights - old, old).store_partial(item.average + at, lanes);
            });
        }

        std::vector<Item> items_;
        C share_ = 0;
    };

    template <class T>
    static void swap(T* a, T* b, std::int64_t count) {
        using V = Packet<T>;
        detail::for_each_packet<T>(count, [=](std::int64_t at, int lanes) {
            const V x = V::load_partial(a + at, lanes), y = V::load_partial(b + at, lanes);
            x.store_partial(b + at, lanes);
            y.store_partial(a + at, lanes);
        });
    }
};

}  // namespace tenon
