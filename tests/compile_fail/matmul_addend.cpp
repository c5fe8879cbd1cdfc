// first line: matmul_addend_differs<.*Shape<8, 64>.*Shape<4, 64>
#include <tenon/op/matmul/matmul_add.hpp>
#if TENON_CONTROL
#include <tenon/op/matmul/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<768, 64>> weight;
tenon::Tensor<float, tenon::Shape<TENON_CONTROL ? 8 : 4, 64>> addend;
auto y = matmul_add(x, weight, tenon::Nothing(), addend);
