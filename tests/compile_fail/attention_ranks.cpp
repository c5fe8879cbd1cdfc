// first line: attention_batch_extents_differ<.*Shape<2, 24, 8, 64>.*Shape<2, 24, 64>
#include <tenon/op/attention/attention.hpp>
#if TENON_CONTROL
#include <tenon/op/attention/cpu.hpp>

tenon::Tensor<float, tenon::Shape<2, 24, 64>> queries;
#else
tenon::Tensor<float, tenon::Shape<2, 24, 8, 64>> queries;
#endif
tenon::Tensor<float, tenon::Shape<2, 24, 64>> keys, values;
auto y = attention(queries, keys, values, {.causal = false});
