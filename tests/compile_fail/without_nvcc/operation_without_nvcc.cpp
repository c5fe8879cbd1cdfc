// first line: kernels of Cuda are compiled by nvcc: include <tenon/cuda.hpp> in a .cu file
#include <tenon/cuda/memory.hpp>
#include <tenon/op/matmul/matmul.hpp>

tenon::Tensor<float, tenon::Shape<8, 8>, tenon::Cuda> x;
#if TENON_CONTROL
auto y = x.clone();
#else
auto y = tenon::matmul(x, x);
#endif
