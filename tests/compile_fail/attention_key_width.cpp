// first line: attention_key_widths_differ<.*Shape<2, 24, 8, 64>.*Shape<2, 24, 8, 32>
#include <tenon/op/attention/attention.hpp>
#if TENON_CONTROL
#include <tenon/op/attention/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 8, 64>> queries;
tenon::Tensor<float, tenon::Shape<2, 24, 8, TENON_CONTROL ? 64 : 32>> keys;
tenon::Tensor<float, tenon::Shape<2, 24, 8, 64>> values;
auto y = attention(queries, keys, values);
