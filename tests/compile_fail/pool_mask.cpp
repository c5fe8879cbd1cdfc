// first line: pool_mask_differs_from_states<.*Shape<2, 24, 64>.*Shape<24, 2>
#include <tenon/nn/pooling.hpp>
#if TENON_CONTROL
#include <tenon/tenon.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 64>> states;
tenon::Tensor<bool, tenon::Shape<TENON_CONTROL ? 2 : 24, TENON_CONTROL ? 24 : 2>> mask;
auto y = pool(states, mask, tenon::Pooling::mean);
