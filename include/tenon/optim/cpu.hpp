#pragma once

#include <algorithm>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/core/workspace.hpp>
#include <tenon/optim/adafactor_cpu.hpp>
#include <tenon/optim/adamw.hpp>
#include <tenon/optim/ema.hpp>
#include <tenon/optim/gradients.hpp>
#include <tenon/optim/lion.hpp>
#include <tenon/optim/muon_cpu.hpp>
#include <tenon/optim/norm_cpu.hpp>
#include <tenon/optim/packets.hpp>
#include <tenon/optim/sgd.hpp>

namespace tenon {

template <>
struct Kernel<AdamWUpdate, Cpu> {
    template <class T, class C>
    static void run(T* parameter, const C* gradient, C* first_moment, C* second_moment, std::int64_t count,
                    const AdamWStep<C>& step) {
        using V = Packet<C>;
        detail::for_each_packet<C>(count, [=](std::int64_t at, int lanes) {
            const V g = V::load_partial(gradient + at, lanes);
            const V m =
                fma(V(step.beta1), V::load_partial(first_moment + at, lanes), V(step.one_minus_beta1) * g);
            const V v = fma(V(step.beta2), V::load_partial(second_moment + at, lanes),
                            V(step.one_minus_beta2) * g * g);
            const V root = fma(sqrt(v), V(step.inverse_root_correction), V(step.epsilon));
            const V p = fma(V(step.keep), V::load_partial(parameter + at, lanes), V(-step.rate) * m / root);
            m.store_partial(first_moment + at, lanes);
            v.store_partial(second_moment + at, lanes);
            p.store_partial(parameter + at, lanes);
        });
    }
};

template <>
struct Kernel<SGDUpdate, Cpu> {
    template <class T, class C>
    static void run(T* parameter, const C* gradient, std::int64_t count, const SGDStep<C>& step) {
        using V = Packet<C>;
        detail::for_each_packet<C>(count, [=](std::int64_t at, int lanes) {
            const V g = V::load_partial(gradient + at, lanes);
            const V p = fma(V(-step.rate), g, V::load_partial(parameter + at, lanes) * V(step.keep));
            p.store_partial(parameter + at, lanes);
        });
    }

    template <class T, class C>
    static void run_with_momentum(T* parameter, const C* gradient, C* momentum, std::int64_t count,
                                  const SGDStep<C>& step) {
        using V = Packet<C>;
        detail::for_each_packet<C>(count, [=](std::int64_t at, int lanes) {
            const V g = V::load_partial(gradient + at, lanes);
            const V v = fma(V(step.momentum), V::load_partial(momentum + at, lanes), g);
            const V u = step.nesterov ? fma(V(step.momentum), v, g) : v;
            const V p = fma(V(-step.rate), u, V::load_partial(parameter + at, lanes) * V(step.keep));
            v.store_partial(momentum + at, lanes);
            p.store_partial(parameter + at, lanes);
        });
    }
};

template <>
struct Kernel<LionUpdate, Cpu> {
    template <class T, class C>
    static void run(T* parameter, const C* gradient, C* momentum, std::int64_t count,
                    const LionStep<C>& step) {
        using V = Packet<C>;
        const V zero(C(0)), up(step.rate);
        detail::for_each_packet<C>(count, [=](std::int64_t at, int lanes) {
            const V g = V::load_partial(gradient + at, lanes);
            const V m = V::load_partial(momentum + at, lanes);
            const V u = fma(V(step.beta1), m, V(step.one_minus_beta1) * g);
            // Where u is neither above nor below zero it is itself the step: zero, or NaN.
            const V change = select(u > zero, up, select(u < zero, -up, u));
            const V p = fma(V(step.keep), V::load_partial(parameter + at, lanes), -change);
            fma(V(step.beta2), m, V(step.one_minus_beta2) * g).store_partial(momentum + at, lanes);
            p.store_partial(parameter + at, lanes);
        });
    }
};

template <>
struct Kernel<EmaUpdate, Cpu> {
    template <class T>
    static void run(const T* parameter, T* average, std::int64_t count, T one_minus_decay) {
        using V = Packet<T>;
        detail::for_each_packet<T>(count, [=](std::int64_t at, int lanes) {
            const V old = V::load_partial(average + at, lanes);
            fma(V(one_minus_decay), V::load_partial(parameter + at, lanes) - old, old)
                .store_partial(average + at, lanes);
        });
    }

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
