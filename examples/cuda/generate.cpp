// Writes on after a prompt, with a model on a GPU: see ../generate.cpp.

#include "../generate.hpp"

#include <concepts>

#include <tenon/cuda/handles.hpp>

#include "../load_speaker.hpp"
#include "generators.hpp"

/// Those of generators.hpp.
template <class Features>
inline constexpr bool generates<tenon::Cuda, Features> =
    std::same_as<Features, tenon::Gpt2::Features> || std::same_as<Features, tenon::Llama::Features>;

int main(int count, char** values) { return generate<tenon::Cuda, tenon::MixedBf16>(count, values); }
