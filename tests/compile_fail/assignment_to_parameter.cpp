// first line: mismatch::assignment<.*Shape<8, 768>.*Shape<8, 512>
#include <tenon/core/tensor.hpp>

void takes(const tenon::Tensor<float, tenon::Shape<8, TENON_CONTROL ? 768 : 512>>&);

void passes(const tenon::Tensor<float, tenon::Shape<8, 768>>& x) { takes(x); }
