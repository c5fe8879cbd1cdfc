// first line: gather_rows_has_other_tokens<.*Shape<5, 16>.*Shape<6, 2>
#include <tenon/op/experts/rows.hpp>
#if TENON_CONTROL
#include <tenon/op/experts/cpu.hpp>
#endif

tenon::ExpertRows<tenon::Tensor<std::int32_t, tenon::Shape<6, 2>>> rows_of_experts;
tenon::Tensor<float, tenon::Shape<TENON_CONTROL ? 6 : 5, 16>> x_of_tokens;
auto y_of_experts = gather_rows(x_of_tokens, rows_of_experts);
