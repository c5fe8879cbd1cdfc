// What of generate runs on a GPU, the models of all architectures: the only part that nvcc compiles.

#include <tenon/cuda.hpp>

#include "../load_speaker.hpp"

template std::unique_ptr<Speaker> load_speaker<tenon::Cuda, tenon::MixedBf16>(const std::string&,
                                                                              const tenon::Architecture&, int,
                                                                              const tenon::SamplingOptions&,
                                                                              tenon::Seed);
