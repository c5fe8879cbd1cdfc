// first line: named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<.*Attention, .*Shape<2, 24, 8, 64>
#include <tenon/op/attention/attention.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#include <tenon/op/attention/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 8, 64>> keys, values;
auto h = keys + values;
#if TENON_CONTROL
auto y = attention(tenon::Tensor(h), keys, values);
#else
auto y = attention(h, keys, values);
#endif
