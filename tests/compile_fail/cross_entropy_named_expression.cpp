// first line: named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<.*CrossEntropy, .*Shape<2, 24, 512>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#include <tenon/op/cross_entropy/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 512>> x;
tenon::Tensor<int, tenon::Shape<2, 24>> targets;
auto logits = x + x;
#if TENON_CONTROL
auto loss = cross_entropy(tenon::Tensor(logits), targets);
#else
auto loss = cross_entropy(logits, targets);
#endif
