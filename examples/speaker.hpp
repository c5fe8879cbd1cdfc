#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <tenon/core/device.hpp>
#include <tenon/core/precision.hpp>
#include <tenon/core/random.hpp>
#include <tenon/inference/sampling.hpp>
#include <tenon/model/architectures.hpp>

/// A model that goes on from tokens, whatever its architecture.
class Speaker {
public:
    virtual ~Speaker() = default;
    /// The tokens that the next one will follow, and for how many there is room.
    virtual std::span<const std::int32_t> tokens() const = 0;
    virtual int capacity() const = 0;
    /// Lets the next one follow others: what they have in common with the last ones is not run again.
    virtual void follow(std::span<const std::int32_t> tokens) = 0;
    virtual std::int32_t next() = 0;
};

/// Loads a checkpoint of any architecture: a folder, or a GGUF file. `context` bounds how many tokens a
/// conversation has room for.
using SpeakerLoader = std::unique_ptr<Speaker>(const std::string& path,
                                               const tenon::Architecture& architecture, int context,
                                               const tenon::SamplingOptions& sampling, tenon::Seed seed);

/// The one of a device and precision. load_speaker.hpp defines it: what computes is compiled once, for
/// several programs.
template <class Device, tenon::Precision P>
std::unique_ptr<Speaker> load_speaker(const std::string& path, const tenon::Architecture& architecture,
                                      int context, const tenon::SamplingOptions& sampling, tenon::Seed seed);
