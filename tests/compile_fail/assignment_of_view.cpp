// first line: assignment_of_a_strided_view_write_contiguous<.*Shape<3, 2>.*Shape<3, 2>
#include <tenon/op/view/view.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<2, 3>> x;
#if TENON_CONTROL
tenon::Tensor<float, tenon::Shape<3, 2>> y = contiguous(transpose(x));
#else
tenon::Tensor<float, tenon::Shape<3, 2>> y = transpose(x);
#endif
