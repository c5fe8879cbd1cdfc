// first line: transformer_parallel_branches_need_norms_before_them<.*Configuration
#include <tenon/model/transformer.hpp>

struct Configuration : tenon::TransformerDefaults {
    static constexpr int vocabulary = 512, context = 128, depth = 2, hidden = 1344, width = 512, heads = 16;
    static constexpr bool parallel = true;
    static constexpr auto placement = TENON_CONTROL ? tenon::NormPlacement::pre : tenon::NormPlacement::post;
};
tenon::Transformer<Configuration>* model;
static_assert(sizeof(*model) > 0);
