// first line: view_of_no_such_axis<.*Shape<8, 768>.*axes<0, 2>
#include <tenon/op/view/view.hpp>

tenon::Tensor<float, tenon::Shape<8, 768>> x;
auto y = tenon::transpose < 0, TENON_CONTROL ? 1 : 2 > (x);
