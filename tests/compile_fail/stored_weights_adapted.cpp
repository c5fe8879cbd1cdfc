// first line: weights of the type that a file has are for models on the CPU that only run forward
#include <tenon/model/transformer.hpp>
#include <tenon/nn/adapted.hpp>

struct Configuration : tenon::TransformerDefaults {
    static constexpr int vocabulary = 512, context = 128, depth = 2, hidden = 64, width = 512, heads = 16;
};
using Tracking = std::conditional_t<TENON_CONTROL, tenon::Untracked, tenon::Adapted>;
static_assert(sizeof(tenon::Transformer<Configuration, tenon::Cpu, tenon::StoredWeights, Tracking>::Layer) >
              0);
