// first line: named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<.*Matmul, .*Shape<8, 768>
#include <tenon/op/matmul/matmul.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#include <tenon/op/matmul/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<768, 64>> weight;
auto h = silu(x) * x;
#if TENON_CONTROL
auto y = matmul(tenon::Tensor(h), weight);
#else
auto y = matmul(h, weight);
#endif
