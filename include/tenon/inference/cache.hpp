#pragma once

#include <vector>

#include <tenon/model/configuration.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// The keys and values of all tokens so far, for each layer of a model, so that each new token costs only
/// itself. Memory for `capacity` positions is taken at once.
template <class Model>
class KeyValueCache {
    using C = typename Model::Configuration;
    using S = Shape<dyn, dyn, detail::Resolved<C>::key_value_heads, detail::Resolved<C>::head_width>;

public:
    using Stored = Tensor<typename Model::Value, S, typename Model::Device>;

    /// Throws ShapeError where `capacity` exceeds the model's context.
    explicit KeyValueCache(const Model& model, int batch = 1, int capacity = 0)
        : capacity_(capacity > 0 ? capacity : model.sizes.context) {
        if (capacity_ > model.sizes.context)
            throw ShapeError("cache: expected a capacity of at most the context, " +
                             std::to_string(model.sizes.context) + ", got " + std::to_string(capacity_));
        const Extents extents(batch, capacity_, model.sizes.key_value_heads, model.sizes.head_width);
        for (int layer = 0; layer < model.sizes.depth; ++layer) {
            keys_.push_back(Stored::with_extents(extents));
            values_.push_back(Stored::with_extents(extents));
        }
    }

    /// Views of what a layer has stored.
    struct Seen {
        decltype(slice<1>(std::declval<Stored>(), 0, 0)) keys, values;
    };

    /// One layer's part while a model runs.
    struct Layer {
        Stored keys, values;
        int length;

        /// Stores those of new tokens, and returns all.
        template <TensorLike K>
        Seen extend(const K& new_keys, const K& new_values) {
            const int end = length + new_keys.extents()[1];
            if (end > keys.extents()[1])
                throw ShapeError("cache: expected at most " + std::to_string(keys.extents()[1]) +
                                 " positions, got " + std::to_string(end));
            copy_to(slice<1>(keys, length, end), new_keys);
            copy_to(slice<1>(values, length, end), new_values);
            return Seen{slice<1>(keys, 0, end), slice<1>(values, 0, end)};
        }
    };

    Layer layer(int index) const {
        return {keys_[static_cast<std::size_t>(index)], values_[static_cast<std::size_t>(index)], length_};
    }

    /// Counts tokens that all layers have stored.
    void advance(int tokens) { length_ += tokens; }

    /// Forgets everything, or all from a position on.
    void truncate(int length = 0) { length_ = length < length_ ? length : length_; }

    int length() const { return length_; }
    int capacity() const { return capacity_; }

private:
    int capacity_, length_ = 0;
    std::vector<Stored> keys_, values_;
};

}  // namespace tenon
