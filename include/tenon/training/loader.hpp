#pragma once

#include <cstdint>

#include <tenon/training/batches.hpp>

namespace tenon {

/// Hands the batches that are made on the host (see RandomBatches, MixedBatches) to the device that trains on
/// them. On a GPU each lies where the one before lay, which work that was given to it earlier has read by
/// then
/// (`cuda/loader.hpp`).
///
///     const RandomBatches<32, 256, std::uint16_t> batches(file.tokens(), seed(42));
///     Loader<decltype(batches), Cuda> loader(batches);
///     auto [inputs, targets] = loader(step);
template <class Batches, class Device = Cpu>
class Loader;

template <class Batches>
class Loader<Batches, Cpu> {
public:
    /// The batches must outlive the loader.
    explicit Loader(const Batches& batches) : batches_(batches) {}

    /// Batch number `step`.
    auto operator()(std::int64_t step) { return batches_(step); }

private:
    const Batches& batches_;
};

}  // namespace tenon
