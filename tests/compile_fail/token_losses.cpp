// first line: cross_entropy_targets_differ<.*Shape<2, 24, 512>.*Shape<2, 23>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#if TENON_CONTROL
#include <tenon/op/cross_entropy/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 64>> hidden;
tenon::Tensor<float, tenon::Shape<512, 64>> head;
tenon::Tensor<int, tenon::Shape<2, TENON_CONTROL ? 24 : 23>> targets;
auto losses = token_losses(tenon::Logits(hidden, head), targets);
