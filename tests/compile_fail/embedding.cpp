// first line: embedding_weight_is_not_a_matrix<.*Shape<768>.*Shape<2, 24>
#include <tenon/op/embedding/embedding.hpp>
#if TENON_CONTROL
#include <tenon/op/embedding/cpu.hpp>
#endif

using Weight = std::conditional_t<TENON_CONTROL, tenon::Shape<512, 768>, tenon::Shape<768>>;
tenon::Tensor<float, Weight> weight;
tenon::Tensor<int, tenon::Shape<2, 24>> ids;
auto y = embedding(weight, ids);
