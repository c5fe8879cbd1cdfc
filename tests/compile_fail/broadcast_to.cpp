// first line: broadcast_to_extents_differ<.*Shape<768>.*Shape<8, 512>
#include <tenon/op/view/view.hpp>

tenon::Tensor<float, tenon::Shape<768>> x;
auto y = tenon::broadcast_to<tenon::Shape<8, TENON_CONTROL ? 768 : 512>>(x);
