// first line: named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<.*RmsNorm, .*Shape<8, 768>
#include <tenon/op/rms_norm/rms_norm.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<768>> gain;
auto h = x + x;
#if TENON_CONTROL
auto y = rms_norm(tenon::Tensor(h), gain);
#else
auto y = rms_norm(h, gain);
#endif
