// first line: mismatch::assignment<.*Shape<8, 768>.*Shape<8, 512>
#include <tenon/expression/evaluate.hpp>
#include <tenon/expression/functions.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<8, TENON_CONTROL ? 768 : 512>> y = x + x;
