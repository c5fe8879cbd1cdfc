// first line: matmul_inner_extents_differ<.*Shape<2, 24, 64>.*Shape<512, 32>
#include <tenon/op/cross_entropy/logits.hpp>

tenon::Tensor<float, tenon::Shape<2, 24, 64>> hidden;
tenon::Tensor<float, tenon::Shape<512, TENON_CONTROL ? 64 : 32>> head;
tenon::Logits logits(hidden, head, tenon::LogitsOptions{.soft_cap = 30});
