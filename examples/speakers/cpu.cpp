// The models of all architectures on the CPU: what `generate` and `chat` share. Weights are of the types that
// the file has, so that one model of each architecture serves all files.

#include <tenon/tenon.hpp>

#include "../load_speaker.hpp"

template std::unique_ptr<Speaker> load_speaker<tenon::Cpu, tenon::StoredWeights>(
    const std::string&, const tenon::Architecture&, int, const tenon::SamplingOptions&, tenon::Seed);
