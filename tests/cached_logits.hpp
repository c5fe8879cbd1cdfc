#pragma once

#include <cstdint>
#include <vector>

#include <tenon/core/tensor.hpp>
#include <tenon/inference/cache.hpp>

/// The logits of a prompt of `first` tokens, and of each of four more, one at a time.
template <class Model>
std::vector<float> cached_logits(const Model& model, int first) {
    std::vector<float> result;
    tenon::KeyValueCache<Model> cache(model);
    std::int32_t next = 1;
    const auto run = [&](int count) {
        auto ids = tenon::Tensor<std::int32_t, tenon::Shape<1, tenon::dyn>>::uninitialized(count);
        for (std::int32_t& id : ids.span()) id = next = (next * 7 + 3) % model.sizes.vocabulary;
        const auto all = model(ids, cache).tensor();
        result.insert(result.end(), all.data(), all.data() + all.size());
    };
    run(first);
    for (int i = 0; i < 4; ++i) run(1);
    return result;
}
