// first line: no_such_axis<.*reduction::Minimum, .*Shape<8, 768>.*axis<2>
#include <tenon/expression/reduction.hpp>

tenon::Tensor<float, tenon::Shape<8, 768>> x;
auto y = tenon::min<tenon::axis<TENON_CONTROL ? 1 : 2>>(x);
