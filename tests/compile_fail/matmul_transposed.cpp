// first line: matmul_inner_extents_differ<.*Shape<8, 768>.*Shape<64, 512>
#include <tenon/op/matmul/matmul.hpp>
#if TENON_CONTROL
#include <tenon/op/matmul/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<64, TENON_CONTROL ? 768 : 512>> weight;
auto y = tenon::matmul<tenon::MatmulOptions{.transpose_right = true}>(x, weight);
