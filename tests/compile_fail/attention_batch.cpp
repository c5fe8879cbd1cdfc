// first line: attention_batch_extents_differ<.*Shape<2, 24, 8, 64>.*Shape<3, 24, 8, 64>
#include <tenon/op/attention/attention.hpp>
#if TENON_CONTROL
#include <tenon/op/attention/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 8, 64>> queries;
tenon::Tensor<float, tenon::Shape<TENON_CONTROL ? 2 : 3, 24, 8, 64>> keys;
tenon::Tensor<float, tenon::Shape<TENON_CONTROL ? 2 : 3, 24, 8, 64>> values;
auto y = attention(queries, keys, values);
