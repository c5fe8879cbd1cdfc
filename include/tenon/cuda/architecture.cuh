#pragma once

namespace tenon::cuda {

/// Whether code is compiled for sm_90a, whose tensor cores multiply for four warps at once and whose warps
/// hand registers to others: instructions that no other architecture has.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
inline constexpr bool is_sm_90a = true;
#else
inline constexpr bool is_sm_90a = false;
#endif

}  // namespace tenon::cuda
