// What libFuzzer calls: the one target that it is linked with.
#include "target.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::targets.begin()->second(data, size);
    return 0;
}
