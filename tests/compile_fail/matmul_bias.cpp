// first line: matmul_bias_differs<.*Shape<8, 64>.*Shape<32>
#include <tenon/op/matmul/matmul_add.hpp>
#if TENON_CONTROL
#include <tenon/op/matmul/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<768, 64>> weight;
tenon::Tensor<float, tenon::Shape<TENON_CONTROL ? 64 : 32>> bias;
auto y = matmul_add(x, weight, bias);
