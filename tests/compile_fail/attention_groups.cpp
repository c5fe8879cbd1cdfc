// first line: attention_heads_do_not_share_key_value_heads<.*Shape<2, 24, 8, 64>.*Shape<2, 24, 3, 64>
#include <tenon/op/attention/attention.hpp>
#if TENON_CONTROL
#include <tenon/op/attention/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 8, 64>> queries;
tenon::Tensor<float, tenon::Shape<2, 24, TENON_CONTROL ? 4 : 3, 64>> keys;
tenon::Tensor<float, tenon::Shape<2, 24, TENON_CONTROL ? 4 : 3, 64>> values;
auto y = attention(queries, keys, values);
