// first line: reshape_changes_the_number_of_elements<.*Shape<2, 16>.*Shape<2, 3, 5>
#include <tenon/op/view/view.hpp>

tenon::Tensor<float, tenon::Shape<2, 16>> x;
#if TENON_CONTROL
auto y = tenon::split_axis<1, 4, 4>(x);
#else
auto y = tenon::split_axis<1, 3, 5>(x);
#endif
