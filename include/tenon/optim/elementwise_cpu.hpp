#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <tenon/core/packet.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/optim/packets.hpp>
#include <tenon/optim/pass_cpu.hpp>
#include <tenon/optim/weights_cpu.hpp>

namespace tenon {

template <>
struct Kernel<ElementwiseUpdate, Cpu> {
    template <class Rule, class T, class C, class Master>
    using Pass = detail::CpuPass<Kernel, Rule, T, C, Master>;

    template <class T, class C, class Master, class Step>
    static void run(const TrainedParameter<T, C, Master>& entry, const Weights<T, Master> weights,
                    const Step step) {
        using V = Packet<C>;
        constexpr std::size_t states = Step::state_count;
        const C* const gradient = entry.gradient();
        std::array<C*, states> state{};
        for (std::size_t i = 0; i < states; ++i) state[i] = entry.state(i);
        detail::for_each_packet<C>(entry.size(), [=](std::int64_t at, int lanes) {
            V p = detail::load_weights<V>(weights, at, lanes);
            V s[states == 0 ? 1 : states];
            for (std::size_t i = 0; i < states; ++i) s[i] = V::load_partial(state[i] + at, lanes);
            step(p, V::load_partial(gradient + at, lanes), s);
            for (std::size_t i = 0; i < states; ++i) s[i].store_partial(state[i] + at, lanes);
            detail::store_weights(p, weights, at, lanes);
        });
    }

    /// The host knows.
    template <class Entry, class T>
    struct Counts {
        Counts() = default;
        explicit Counts(std::vector<Entry>&) {}
        void prepare(std::vector<Entry>&) {}
        void run(Kernel<GradientNorm, Cpu>::Scale) {}
        static std::int64_t* of(Entry& entry) { return &entry.updates; }
    };

    /// Elements in another type.
    template <class From, class To>
    static void copy(const From* from, std::int64_t count, To* to) {
        parallel_for(count, 32768, [=](std::int64_t first, std::int64_t last) {
            for (std::int64_t i = first; i < last; ++i) to[i] = convert<To>(from[i]);
        });
    }
};

}  // namespace tenon
