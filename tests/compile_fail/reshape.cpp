// first line: reshape_changes_the_number_of_elements<.*Shape<8, 768>.*Shape<8, 512>
#include <tenon/op/view/view.hpp>

tenon::Tensor<float, tenon::Shape<8, 768>> x;
auto y = tenon::reshape<tenon::Shape<TENON_CONTROL ? 12 : 8, 512>>(x);
