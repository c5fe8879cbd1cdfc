// first line: transformer_width_is_no_multiple_of_heads<.*Shape<512>.*Shape<12>
#include <tenon/model/transformer.hpp>

struct Configuration : tenon::TransformerDefaults {
    static constexpr int vocabulary = 512, context = 128, depth = 2, hidden = 1344;
    static constexpr int width = 512, heads = TENON_CONTROL ? 16 : 12;
};
tenon::Transformer<Configuration>* model;
static_assert(sizeof(*model) > 0);
