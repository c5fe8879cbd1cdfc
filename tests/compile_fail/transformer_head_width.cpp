// first line: transformer_head_width_is_odd<.*Shape<480>.*Shape<15>
#include <tenon/model/transformer.hpp>

struct Configuration : tenon::TransformerDefaults {
    static constexpr int vocabulary = 512, context = 128, depth = 2, hidden = 1344;
    static constexpr int width = 480, heads = TENON_CONTROL ? 16 : 32;
};
tenon::Transformer<Configuration>* model;
static_assert(sizeof(*model) > 0);
