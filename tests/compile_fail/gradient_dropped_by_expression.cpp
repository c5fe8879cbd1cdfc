// first line: assignment_drops_the_gradient<.*Shape<8, 768>.*Shape<8, 768>
#include <tenon/expression/evaluate.hpp>
#include <tenon/expression/functions.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#endif

using Tracking = std::conditional_t<TENON_CONTROL, tenon::Untracked, tenon::Tracked>;
tenon::Tensor<float, tenon::Shape<8, 768>, tenon::Cpu, Tracking> x;
tenon::Tensor<float, tenon::Shape<8, 768>> y = x + x;
