// first line: matmul: the element types differ
#include <tenon/op/matmul/cpu.hpp>

// Beside a factor of 16 bits, one of floats has no gradient.
using Tracking = std::conditional_t<TENON_CONTROL, tenon::Untracked, tenon::Tracked>;
tenon::Tensor<float, tenon::Shape<2, 3>, tenon::Cpu, Tracking> x;
tenon::Tensor<tenon::bf16, tenon::Shape<3, 4>> weight;
auto product = matmul(x, weight);
