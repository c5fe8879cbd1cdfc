#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

#include <tenon/model/configuration.hpp>
#include <tenon/op/attention/attention.hpp>
#include <tenon/op/view/view.hpp>

namespace tenon {

/// Names the storing of one token's keys or values where kernels are declared.
struct CacheAppend {};

template <>
struct Kernel<CacheAppend, Cpu> {
    /// Row *position of each of `batch` caches, `capacity` rows of `width` elements, becomes row b of `rows`.
    template <class T>
    static void run(const T* rows, int batch, int capacity, std::int64_t width, const int* position,
                    T* caches) {
        for (int b = 0; b < batch; ++b)
            std::copy_n(rows + b * width, width, caches + (std::int64_t{b} * capacity + *position) * width);
    }
};

/// The keys and values of all tokens so far, for each layer of a model, so that each new token costs only
/// itself. Memory for `capacity` positions is taken at once.
template <class Model>
class KeyValueCache {
    using C = typename Model::Configuration;
    using Device = typename Model::Device;
    using S = Shape<dyn, dyn, detail::Resolved<C>::key_value_heads, detail::Resolved<C>::head_width>;

public:
    using Stored = Tensor<typename Model::Value, S, Device>;

    /// Throws ShapeError where `capacity` exceeds the model's context.
    explicit KeyValueCache(const Model& model, int batch = 1, int capacity = 0)
        : capacity_(capacity > 0 ? capacity : model.sizes.context) {
        if (capacity_ > model.sizes.context)
            throw ShapeError("cache: expected a capacity of at most the context, " +
                             std::to_string(model.sizes.context) + ", got " + std::to_string(capacity_));
        const Extents extents(batch, capacity_, model.sizes.key_value_heads, model.sizes.head_width);
        for (int layer = 0; layer < model.sizes.depth; ++layer) {
            keys_.push_back(make(extents));
            values_.push_back(make(extents));
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
            if (end > keys.extents()[1]) throw_full(end, keys.extents()[1]);
            copy_to(slice<1>(keys, length, end), new_keys);
            copy_to(slice<1>(values, length, end), new_values);
            return Seen{slice<1>(keys, 0, end), slice<1>(values, 0, end)};
        }
    };

    Layer layer(int index) const {
        return {keys_[static_cast<std::size_t>(index)], values_[static_cast<std::size_t>(index)], length_};
    }

    /// The cache as a model is given it for one token whose place stands in the device's memory: its work is
    /// then the same for each token, and can be captured (see RepeatedWork). Attention looks through all of
    /// the memory, and leaves out what is not stored yet; there must be no window.
    class Steady {
    public:
        struct Layer {
            Stored keys, values;
            Tensor<int, Shape<1>, Device> length;     // the token's position
            Tensor<int, Shape<dyn>, Device> lengths;  // the token included, [batch]

            /// Stores the token's keys and values, and lets its queries attend to all.
            template <TensorLike Q, TensorLike K, TensorLike V>
            auto attend(const Q& q, const K& k, const V& v, const AttentionOptions& options) const {
                store(k, keys);
                store(v, values);
                return attention(q, keys, values, options, Padding{lengths});
            }

        private:
            template <TensorLike X>
            void store(const X& given, const Stored& to) const {
                const auto x = contiguous(given);
                const Extents& extents = to.extents();
                Kernel<CacheAppend, Device>::run(
                    static_cast<const typename X::value_type*>(x.data()), extents[0], extents[1],
                    std::int64_t{extents[2]} * extents[3], length.data(), to.data());
            }
        };

        explicit Steady(const KeyValueCache& cache)
            : keys_(cache.keys_),
              values_(cache.values_),
              length_(Tensor<int, Shape<1>, Device>::uninitialized()),
              lengths_(Tensor<int, Shape<dyn>, Device>::uninitialized(keys_.front().extents()[0])) {}

        /// Tells the device where the next token goes: behind so many. Nothing waits. Throws ShapeError where
        /// the cache is full.
        void place(int length) {
            const int capacity = keys_.front().extents()[1];
            if (length >= capacity) throw_full(length + 1, capacity);
            Memory<Device>::fill(length_.data(), 1, length);
            Memory<Device>::fill(lengths_.data(), lengths_.size(), length + 1);
        }

        const Tensor<int, Shape<1>, Device>& length() const { return length_; }
        Layer layer(int index) const {
            const auto number = static_cast<std::size_t>(index);
            return {keys_[number], values_[number], length_, lengths_};
        }
        /// The token is counted by who calls `KeyValueCache::advance`, as often as the work is repeated.
        void advance(int) {}

    private:
        std::vector<Stored> keys_, values_;
        Tensor<int, Shape<1>, Device> length_;
        Tensor<int, Shape<dyn>, Device> lengths_;
    };

    Steady steady() const { return Steady(*this); }

    /// Counts tokens that all layers have stored.
    void advance(int tokens) { length_ += tokens; }

    /// Forgets everything, or all from a position on.
    void truncate(int length = 0) { length_ = length < length_ ? length : length_; }

    int length() const { return length_; }
    int capacity() const { return capacity_; }

private:
    static Stored make(const Extents& extents) {
        const Stored stored = Stored::with_extents(extents);
        // A GPU multiplies what is not stored yet by zero, which it must not be a NaN for.
        if constexpr (!std::same_as<Device, Cpu>)
            Memory<Device>::fill(stored.data(), stored.size(), typename Model::Value(0.0f));
        return stored;
    }

    [[noreturn]] static void throw_full(int wanted, int capacity) {
        throw ShapeError("cache: expected at most " + std::to_string(capacity) + " positions, got " +
                         std::to_string(wanted));
    }

    int capacity_, length_ = 0;
    std::vector<Stored> keys_, values_;
};

}  // namespace tenon
