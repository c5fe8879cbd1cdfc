// first line: named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<.*Softmax, .*Shape<8, 768>
#include <tenon/op/softmax/softmax.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#include <tenon/op/softmax/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
auto h = x + x;
#if TENON_CONTROL
auto y = softmax(tenon::Tensor(h));
#else
auto y = softmax(h);
#endif
