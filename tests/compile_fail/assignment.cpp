// first line: mismatch::assignment<.*Shape<8, 768>.*Shape<8, 512>
#include <tenon/core/tensor.hpp>

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<8, TENON_CONTROL ? 768 : 512>> y = x;
