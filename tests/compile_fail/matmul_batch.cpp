// first line: matmul_batch_extents_differ<.*Shape<4, 8, 768>.*Shape<2, 768, 64>
#include <tenon/op/matmul/matmul.hpp>
#if TENON_CONTROL
#include <tenon/op/matmul/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<4, 8, 768>> x;
tenon::Tensor<float, tenon::Shape<TENON_CONTROL ? 4 : 2, 768, 64>> weight;
auto y = matmul(x, weight);
