// first line: rotary_needs_an_even_width<.*Shape<2, 24, 4, 15>.*RotaryTable<float
#include <tenon/op/rotary/rotary.hpp>
#if TENON_CONTROL
#include <tenon/op/rotary/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 4, TENON_CONTROL ? 16 : 15>> x;
tenon::RotaryTable<float> table;
auto y = rotary(x, table, tenon::RotaryPairs::half_split);
