// first line: concatenate_other_extents_differ<.*Shape<2, 3, 4>.*Shape<2, 5, 1>
#include <tenon/op/concatenate/concatenate.hpp>
#include <tenon/op/view/cpu.hpp>

auto left = tenon::Tensor<float, tenon::Shape<2, 3, 4>>::zeros();
auto right = tenon::Tensor<float, tenon::Shape<2, TENON_CONTROL ? 3 : 5, 1>>::zeros();
auto joined = concatenate<2>(left, right).extents();
