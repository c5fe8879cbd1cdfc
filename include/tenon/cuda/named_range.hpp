#pragma once

#include <nvtx3/nvToolsExt.h>
#include <string>

#include <tenon/core/named_range.hpp>

namespace tenon {

/// A range of NVTX, as Nsight shows it around the kernels that are launched within.
template <>
class NamedRange<Cuda> {
public:
    explicit NamedRange(const std::string& name) { nvtxRangePushA(name.c_str()); }
    NamedRange(const NamedRange&) = delete;
    NamedRange& operator=(const NamedRange&) = delete;
    ~NamedRange() { nvtxRangePop(); }
};

}  // namespace tenon
