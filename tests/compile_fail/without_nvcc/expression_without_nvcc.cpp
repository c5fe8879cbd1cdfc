// first line: kernels of Cuda are compiled by nvcc: include <tenon/cuda.hpp> in a .cu file
#include <tenon/cuda/memory.hpp>
#include <tenon/expression/evaluate.hpp>
#include <tenon/expression/functions.hpp>

tenon::Tensor<float, tenon::Shape<8>, tenon::Cuda> x;
#if TENON_CONTROL
auto y = x.clone();
#else
tenon::Tensor<float, tenon::Shape<8>, tenon::Cuda> y = x + x;
#endif
