// first line: attention_keys_and_values_differ<.*Shape<2, 24, 8, 64>.*Shape<2, 25, 8, 64>
#include <tenon/op/attention/attention.hpp>
#if TENON_CONTROL
#include <tenon/op/attention/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 8, 64>> queries;
tenon::Tensor<float, tenon::Shape<2, 24, 8, 64>> keys;
tenon::Tensor<float, tenon::Shape<2, TENON_CONTROL ? 24 : 25, 8, 64>> values;
auto y = attention(queries, keys, values);
