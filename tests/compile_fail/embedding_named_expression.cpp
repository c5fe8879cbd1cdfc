// first line: named_expression_passed_to_an_operation_write_Tensor_h_equals_it_first<.*Embedding, .*Shape<8, 768>
#include <tenon/expression/functions.hpp>
#include <tenon/op/embedding/embedding.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#include <tenon/op/embedding/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<int, tenon::Shape<4>> ids;
auto h = x + x;
#if TENON_CONTROL
auto y = embedding(tenon::Tensor(h), ids);
#else
auto y = embedding(h, ids);
#endif
