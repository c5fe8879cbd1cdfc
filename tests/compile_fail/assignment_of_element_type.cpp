// first line: assignment_changes_the_element_type<double, float>
#include <tenon/expression/evaluate.hpp>
#include <tenon/expression/functions.hpp>
#if TENON_CONTROL
#include <tenon/expression/cpu.hpp>
#endif

tenon::Tensor<double, tenon::Shape<3>> x;
#if TENON_CONTROL
tenon::Tensor<double, tenon::Shape<3>> y = x * 2;
#else
tenon::Tensor<float, tenon::Shape<3>> y = x * 2;
#endif
