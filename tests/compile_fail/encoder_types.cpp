// first line: encoder_types_differ_from_ids<.*Shape<1, 24>.*Shape<2, 24>
#include <tenon/model/bert.hpp>
#include <tenon/model/encoder.hpp>
#if TENON_CONTROL
#include <tenon/tenon.hpp>
#endif

struct Configuration : tenon::Bert::Features {
    static constexpr int vocabulary = 512, context = 128, width = 64, depth = 2, heads = 4, hidden = 96,
                         token_types = 2;
};
tenon::Tensor<int, tenon::Shape<2, 24>> ids;
tenon::Tensor<bool, tenon::Shape<2, 24>> mask;
tenon::Tensor<int, tenon::Shape<TENON_CONTROL ? 2 : 1, 24>> types;
auto states = tenon::Encoder<Configuration>()(ids, mask, types);
