// first line: named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<.*RmsNorm, .*Shape<768>
#include <tenon/op/rms_norm/rms_norm.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<768>> gain;
auto h = gain + gain;
#if TENON_CONTROL
auto y = rms_norm(x, tenon::Tensor(h));
#else
auto y = rms_norm(x, h);
#endif
