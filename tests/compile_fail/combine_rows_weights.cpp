// first line: combine_rows_has_other_weights<.*Shape<.*, 16>.*Shape<6, 3>
#include <tenon/op/experts/rows.hpp>
#if TENON_CONTROL
#include <tenon/op/experts/cpu.hpp>
#endif

tenon::ExpertRows<tenon::Tensor<std::int32_t, tenon::Shape<6, 2>>> rows_that_were_sorted;
tenon::Tensor<float, tenon::Shape<tenon::dyn, 16>> results_of_experts;
tenon::Tensor<float, tenon::Shape<6, TENON_CONTROL ? 2 : 3>> weights_of_tokens;
auto y_of_tokens = combine_rows(results_of_experts, weights_of_tokens, rows_that_were_sorted);
