// first line: attention_mask_does_not_fit<.*Shape<2, 4, 16, 24>.*Shape<2, 8, 16, 24>
#include <tenon/op/attention/attention.hpp>
#if TENON_CONTROL
#include <tenon/op/attention/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 16, 8, 64>> queries;
tenon::Tensor<float, tenon::Shape<2, 24, 4, 64>> keys, values;
tenon::Tensor<int, tenon::Shape<2>> lengths;
tenon::Tensor<bool, tenon::Shape<2, TENON_CONTROL ? 8 : 4, 16, 24>> mask;
auto y = attention(queries, keys, values, {}, tenon::Padding{lengths}, mask);
