// first line: named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<.*Dropout, .*Shape<8, 768>
#include <tenon/op/dropout/dropout.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#include <tenon/op/dropout/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
auto h = x + x;
#if TENON_CONTROL
auto y = dropout(tenon::Tensor(h), {.probability = 0.5});
#else
auto y = dropout(h, {.probability = 0.5});
#endif
