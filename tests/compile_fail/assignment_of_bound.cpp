// first line: mismatch::assignment<.*Shape<.*upto<2048>.*, 768>.*Shape<4096, 768>
#include <tenon/core/tensor.hpp>

tenon::Tensor<float, tenon::Shape<tenon::upto<2048>, 768>> x;
tenon::Tensor<float, tenon::Shape<TENON_CONTROL ? 2048 : 4096, 768>> y = x;
