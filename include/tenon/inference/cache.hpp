#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

#include <tenon/core/host_device.hpp>
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

/// Where the next token of each sequence goes, in the device's memory; also names the moving on where kernels
/// are declared.
struct CachePlace {
    int* length;   ///< how many tokens are stored
    int* lengths;  ///< the next included, [batch]
    int* starts;   ///< [batch, capacity]; of each row's last: the first token that the next attends to
    int batch, capacity, window;

    /// The last of row b of `starts`; there is none without a window.
    TENON_HOST_DEVICE int& start(int b) const { return starts[(std::int64_t{b} + 1) * capacity - 1]; }
    /// What row b becomes once so many tokens are stored.
    TENON_HOST_DEVICE void set_row(int b, int stored) const {
        const int end = stored + 1;
        lengths[b] = end;
        if (window > 0) start(b) = end > window ? end - window : 0;
    }
};

template <>
struct Kernel<CachePlace, Cpu> {
    /// Moves on by as many tokens, and writes what follows from `length`.
    static void run(const CachePlace& place, int tokens) {
        *place.length += tokens;
        for (int b = 0; b < place.batch; ++b) place.set_row(b, *place.length);
    }
};

/// The keys and values of all tokens so far, for each layer of a model, so that each new token costs only
/// itself. Memory for `capacity` positions is taken at once.
template <class Model>
class KeyValueCache {
    using C = typename Model::Configuration;
    using Device = typename Model::Device;
    static constexpr bool is_latent = C::latent_attention;
    using Heads = Shape<dyn, dyn, detail::Resolved<C>::key_value_heads, detail::Resolved<C>::head_width>;

public:
    /// Keys or values; of latent attention what both are made of, and keys' turned elements.
    using Stored =
        Tensor<typename Model::Value, std::conditional_t<is_latent, Shape<dyn, dyn, 1, dyn>, Heads>, Device>;

    /// Throws ShapeError where `capacity` exceeds the model's context.
    explicit KeyValueCache(const Model& model, int batch = 1, int capacity = 0)
        : capacity_(capacity > 0 ? capacity : model.sizes.context), window_(model.sizes.window) {
        if (capacity_ > model.sizes.context)
            throw ShapeError("cache: expected a capacity of at most the context, " +
                             std::to_string(model.sizes.context) + ", got " + std::to_string(capacity_));
        const TransformerSizes& sizes = model.sizes;
        const Extents extents = is_latent
                                    ? Extents(batch, capacity_, 1, sizes.latent_width + sizes.rotary_width)
                                    : Extents(batch, capacity_, sizes.key_value_heads, sizes.head_width);
        for (int layer = 0; layer < sizes.depth; ++layer) {
            keys_.push_back(make(extents));
            values_.push_back(is_latent ? keys_.back() : make(extents));
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
            return Seen{extended(keys, new_keys), extended(values, new_values)};
        }
        /// The same of latent attention, for whose values there is no memory of their own.
        template <TensorLike K>
        auto extend(const K& rows) requires is_latent {
            return extended(keys, rows);
        }

    private:
        template <TensorLike X>
        auto extended(const Stored& to, const X& added) const {
            const int end = length + added.extents()[1];
            if (end > to.extents()[1]) throw_full(end, to.extents()[1]);
            copy_to(slice<1>(to, length, end), detach(added));
            return slice<1>(to, 0, end);
        }
    };

    Layer layer(int index) const {
        return {keys_[static_cast<std::size_t>(index)], values_[static_cast<std::size_t>(index)], length_};
    }

    /// The cache as a model is given it for one token whose place stands in the device's memory: its work is
    /// then the same for each token, and can be captured (see RepeatedWork). Attention is given all of the
    /// memory, and leaves out what is not stored yet or lies before the window.
    class Steady {
        using Place = Tensor<int, Shape<1>, Device>;
        using Lengths = Tensor<int, Shape<dyn>, Device>;
        using Starts = Tensor<int, Shape<dyn, dyn>, Device>;

    public:
        struct Layer {
            Stored keys, values;
            Place length;     // the token's position
            Lengths lengths;  // the token included, [batch]
            Starts starts;    // [batch, capacity], where there is a window: see CachePlace

            /// Stores the token's keys and values, and lets its queries attend to all, or to the window.
            template <TensorLike Q, TensorLike K, TensorLike V>
            auto attend(const Q& q, const K& k, const V& v, const AttentionOptions& options) const {
                store(k, keys);
                store(v, values);
                return attend_to(q, keys, values, options);
            }
            /// The same of latent attention, where values are rows' first elements.
            template <TensorLike Q, TensorLike Rows>
            auto attend(const Q& q, const Rows& rows, int value_width,
                        const AttentionOptions& options) const requires is_latent {
                store(rows, keys);
                return attend_to(q, keys, slice<3>(keys, 0, value_width), options);
            }

        private:
            template <class Q, class K, class V>
            auto attend_to(const Q& q, const K& k, const V& v, const AttentionOptions& options) const {
                if (options.window <= 0) return attention(q, k, v, options, Padding{lengths});
                // Attention takes the token for the last of the memory, which a window would end at. So the
                // window is told as the start of the token's document.
                AttentionOptions without_window = options;
                without_window.window = 0;
                return attention(q, k, v, without_window, Padding{lengths}, starts);
            }

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
              window_(cache.window_),
              length_(Place::uninitialized()),
              lengths_(Lengths::uninitialized(batch())),
              starts_(Starts::zeros(batch(), window_ > 0 ? capacity() : 0)) {}

        /// Lets the next token go behind so many. The device is told only where the token before, which
        /// `place` was called for, went elsewhere. Nothing waits. Throws ShapeError where the cache is full.
        void place(int length) {
            if (length >= capacity()) throw_full(length + 1, capacity());
            if (length != next_) {
                Memory<Device>::fill(length_.data(), 1, length);
                move_on(0);
            }
            next_ = length + 1;
        }

        const Place& length() const { return length_; }
        Layer layer(int index) const {
            const auto number = static_cast<std::size_t>(index);
            return {keys_[number], values_[number], length_, lengths_, starts_};
        }
        /// Lets the device count tokens that all layers have stored: a part of the work that is repeated.
        /// `KeyValueCache::advance` is called for each by who repeats it.
        void advance(int tokens) { move_on(tokens); }

    private:
        int batch() const { return keys_.front().extents()[0]; }
        int capacity() const { return keys_.front().extents()[1]; }
        void move_on(int tokens) {
            Kernel<CachePlace, Device>::run(
                {length_.data(), lengths_.data(), starts_.data(), batch(), capacity(), window_}, tokens);
        }

        std::vector<Stored> keys_, values_;
        int window_;
        Place length_;
        Lengths lengths_;
        Starts starts_;
        int next_ = -1;  // the length that the device has, once the work has been done for the last `place`
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

    int capacity_, window_, length_ = 0;
    std::vector<Stored> keys_, values_;
};

}  // namespace tenon
