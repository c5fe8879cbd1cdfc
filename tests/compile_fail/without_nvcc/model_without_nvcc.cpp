// first line: kernels of Cuda are compiled by nvcc: include <tenon/cuda.hpp> in a .cu file
#include <tenon/cuda/memory.hpp>
#include <tenon/model/transformer.hpp>

struct Small : tenon::TransformerDefaults {
    static constexpr int vocabulary = 64, context = 32, width = 32, depth = 2, heads = 2, hidden = 64;
};
using Model = tenon::Transformer<Small, tenon::Cuda>;

// Declared here, and instantiated by a file that nvcc compiles, a model is as good as any other class.
#if TENON_CONTROL
extern template class tenon::Transformer<Small, tenon::Cuda>;
#endif
auto logits_of(const Model& model, const tenon::Tensor<int, tenon::Shape<1, 4>, tenon::Cuda>& ids) {
#if TENON_CONTROL
    return ids.clone();
#else
    return model(ids).tensor();
#endif
}
