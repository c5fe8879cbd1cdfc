// first line: grouped_matmul_inner_extents_differ<.*Shape<128, 64>.*Shape<4, 32, 48>
#include <tenon/op/grouped_matmul/grouped_matmul.hpp>
#if TENON_CONTROL
#include <tenon/op/grouped_matmul/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<128, TENON_CONTROL ? 48 : 64>> grouped_x;
tenon::Tensor<float, tenon::Shape<4, 32, 48>> grouped_weight;
tenon::Tensor<std::int32_t, tenon::Shape<5>> grouped_begins;
auto grouped_y = grouped_matmul(grouped_x, grouped_weight, grouped_begins);
