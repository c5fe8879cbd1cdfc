// first line: named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<.*Rotary, .*Shape<2, 24, 4, 16>
#include <tenon/expression/functions.hpp>
#include <tenon/op/rotary/rotary.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#include <tenon/op/rotary/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 4, 16>> x;
tenon::RotaryTable<float> table;
auto h = x + x;
#if TENON_CONTROL
auto y = rotary(tenon::Tensor(h), table, tenon::RotaryPairs::half_split);
#else
auto y = rotary(h, table, tenon::RotaryPairs::half_split);
#endif
