// first line: attention_mask_does_not_fit<.*Shape<2, 16>.*Shape<2, 8, 16, 24>
#include <tenon/op/attention/attention.hpp>
#if TENON_CONTROL
#include <tenon/op/attention/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 16, 8, 64>> queries;
tenon::Tensor<float, tenon::Shape<2, 24, 8, 64>> keys, values;
tenon::Tensor<int, tenon::Shape<2, TENON_CONTROL ? 24 : 16>> document_start;
auto y = attention(queries, keys, values, {}, document_start);
