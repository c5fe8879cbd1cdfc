// first line: no_such_axis<.*Softmax, .*Shape<8, 768>.*axis<2>
#include <tenon/op/softmax/softmax.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#include <tenon/op/softmax/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
auto y = softmax<tenon::axis<TENON_CONTROL ? 1 : 2>>(x);
