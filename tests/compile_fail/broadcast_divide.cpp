// first line: extents_do_not_broadcast<.*functor::Divide, .*Shape<8, 768>.*Shape<512>
#include <tenon/expression/functions.hpp>

tenon::Tensor<float, tenon::Shape<8, 768>> x;
tenon::Tensor<float, tenon::Shape<TENON_CONTROL ? 768 : 512>> y;
auto z = x / y;
