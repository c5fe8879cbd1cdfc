// first line: matmul_inner_extents_differ<.*Shape<8, 768>.*Shape<512, 64>
#include <tenon/op/matmul/matmul.hpp>
#if TENON_CONTROL
#include <tenon/op/matmul/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<TENON_CONTROL ? 768 : 512, 64>> weight;
auto y = matmul(x, weight);
