// The models of all architectures on a GPU, what `generate_cuda` and `chat_cuda` share: the only part of them
// that nvcc compiles.

#include <tenon/cuda.hpp>

#include "../load_speaker.hpp"

template std::unique_ptr<Speaker> load_speaker<tenon::Cuda, tenon::MixedBf16>(const std::string&,
                                                                              const tenon::Architecture&, int,
                                                                              const tenon::SamplingOptions&,
                                                                              tenon::Seed);
