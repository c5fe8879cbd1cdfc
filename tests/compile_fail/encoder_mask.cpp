// first line: encoder_mask_differs_from_ids<.*Shape<2, 20>.*Shape<2, 24>
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
tenon::Tensor<bool, tenon::Shape<2, TENON_CONTROL ? 24 : 20>> mask;
auto states = tenon::Encoder<Configuration>()(ids, mask);
