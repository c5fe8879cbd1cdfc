// first line: layer_norm_gain_differs<.*Shape<8, 768>.*Shape<512>
#include <tenon/op/layer_norm/layer_norm.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<TENON_CONTROL ? 768 : 512>> gain;
tenon::Tensor<float, tenon::Shape<768>> bias;
auto y = layer_norm(x, gain, bias);
