// first line: route_scores_are_not_a_matrix<.*Shape<2, 3, 8>
#include <tenon/op/experts/route.hpp>
#if TENON_CONTROL
#include <tenon/op/experts/cpu.hpp>
#endif

tenon::Tensor<float, tenon::Shape<6, 8>> scores_of_tokens;
tenon::Tensor<float, tenon::Shape<2, 3, 8>> scores_of_sequences;
#if TENON_CONTROL
auto routed_tokens = route(scores_of_tokens, tenon::RouteOptions{}).experts;
#else
tenon::Tensor<std::int32_t, tenon::Shape<6, tenon::dyn>> routed_tokens =
    route(scores_of_sequences, tenon::RouteOptions{});
#endif
