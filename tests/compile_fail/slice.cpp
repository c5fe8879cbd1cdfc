// first line: slice_outside_of_extent<.*Shape<8, 768>.*range<6, 9>
#include <tenon/op/view/view.hpp>

tenon::Tensor<float, tenon::Shape<8, 768>> x;
auto y = tenon::slice < 0, 6, TENON_CONTROL ? 8 : 9 > (x);
