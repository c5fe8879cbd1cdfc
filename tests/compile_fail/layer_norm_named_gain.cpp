// first line: named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<.*LayerNorm, .*Shape<768>
#include <tenon/op/layer_norm/layer_norm.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<768>> gain, bias;
auto h = gain + gain;
#if TENON_CONTROL
auto y = layer_norm(x, tenon::Tensor(h), bias);
#else
auto y = layer_norm(x, h, bias);
#endif
