// first line: rotary_positions_differ<.*Shape<2, 24, 4, 16>.*Shape<2, 23>
#include <tenon/op/rotary/rotary.hpp>
#if TENON_CONTROL
#include <tenon/op/rotary/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 24, 4, 16>> x;
tenon::RotaryTable<float> table;
tenon::Tensor<int, tenon::Shape<2, TENON_CONTROL ? 24 : 23>> positions;
auto y = rotary(x, table, tenon::RotaryPairs::half_split, positions);
