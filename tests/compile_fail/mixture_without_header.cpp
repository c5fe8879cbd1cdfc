// first line: a model with mixtures of experts needs .include <tenon.nn.mixture_of_experts.hpp>
#include <tenon/model/transformer.hpp>
#if TENON_CONTROL
#include <tenon/nn/mixture_of_experts.hpp>
#endif

struct Configuration : tenon::TransformerDefaults {
    static constexpr int vocabulary = 512, context = 128, depth = 2, hidden = 64, width = 512, heads = 16;
    static constexpr bool mixture_of_experts = true;
    static constexpr int experts = 4, experts_per_token = 2;
};
static_assert(sizeof(tenon::Transformer<Configuration>::Layer) > 0);
