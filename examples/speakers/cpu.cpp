// The models of all architectures on the CPU: what `generate` and `chat` share.

#include <tenon/tenon.hpp>

#include "../load_speaker.hpp"

template std::unique_ptr<Speaker> load_speaker<tenon::Cpu, tenon::F32>(const std::string&,
                                                                       const tenon::Architecture&, int,
                                                                       const tenon::SamplingOptions&,
                                                                       tenon::Seed);
