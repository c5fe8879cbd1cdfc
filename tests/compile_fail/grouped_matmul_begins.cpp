// first line: grouped_matmul_begins_are_not_one_more_than_groups<.*Shape<4, 32, 48>.*Shape<4>
#include <tenon/op/grouped_matmul/grouped_matmul.hpp>
#if TENON_CONTROL
#include <tenon/op/grouped_matmul/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<128, 48>> x_of_groups;
tenon::Tensor<float, tenon::Shape<4, 32, 48>> weight_of_groups;
tenon::Tensor<std::int32_t, tenon::Shape<TENON_CONTROL ? 5 : 4>> begins_of_groups;
auto y_of_groups = grouped_matmul(x_of_groups, weight_of_groups, begins_of_groups);
