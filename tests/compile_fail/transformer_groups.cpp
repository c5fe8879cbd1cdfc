// first line: transformer_heads_are_no_multiple_of_key_value_heads<.*Shape<16>.*Shape<3>
#include <tenon/model/transformer.hpp>

struct Configuration : tenon::TransformerDefaults {
    static constexpr int vocabulary = 512, context = 128, depth = 2, hidden = 1344;
    static constexpr int width = 512, heads = 16, key_value_heads = TENON_CONTROL ? 4 : 3;
};
tenon::Transformer<Configuration>* model;
static_assert(sizeof(*model) > 0);
