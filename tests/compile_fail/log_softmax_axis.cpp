// first line: no_such_axis<.*LogSoftmax, .*Shape<8, 768>.*axis<2>
#include <tenon/op/log_softmax/log_softmax.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#include <tenon/op/log_softmax/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<8, 768>> x;
auto y = log_softmax<tenon::axis<TENON_CONTROL ? 1 : 2>>(x);
