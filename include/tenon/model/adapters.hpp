#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <tenon/core/cast.hpp>
#include <tenon/core/error.hpp>
#include <tenon/core/random.hpp>
#include <tenon/model/checkpoint_names.hpp>
#include <tenon/nn/adapted.hpp>
#include <tenon/nn/host_elements.hpp>

namespace tenon {

struct AdapterOptions {
    int rank = 8;
    double alpha = 16;             ///< an adapter's result is multiplied by alpha / rank…
    bool rank_stabilized = false;  ///< …or by alpha / sqrt(rank) (Kalajdzievski 2023, "rsLoRA")
    /// Which layers are adapted: whole names or their ends, as the model has them ("attention.query",
    /// "feed_forward.gate_up" of experts, "head", "embedding") or as its checkpoint does ("q_proj",
    /// "experts.gate_up_proj", "lm_head", "embed_tokens"); "all-linear": all linear layers of its blocks.
    std::vector<std::string> targets = {"attention.query", "attention.value"};
    /// Probability, of what adapters read in passes that are given a DropoutKey, as a Trainer's are: each
    /// adapter by itself.
    double dropout = 0;

    double scale() const { return alpha / (rank_stabilized ? std::sqrt(rank) : rank); }
};

/// What one layer's adapter is.
struct AdapterForm {
    int rank = 0;
    double scale = 1;
};

namespace detail {

/// Whether a layer is called so, or its name ends so.
inline bool is_layer_called(std::string_view layer, std::string_view target) {
    return layer == target || (layer.size() > target.size() && layer.ends_with(target) &&
                               layer[layer.size() - target.size() - 1] == '.');
}

/// The name without ".weight" at its end.
inline std::string_view layer_of(std::string_view weight) {
    constexpr std::string_view end = ".weight";
    if (weight.ends_with(end)) weight.remove_suffix(end.size());
    return weight;
}

/// The checkpoint's name of a layer "blocks.0.attention.query": "model.layers.0.self_attn.q_proj"; of all
/// experts' matrices, the name of the tensor that they may be joined in.
inline std::string checkpoint_layer(CheckpointNames names, std::string_view layer) {
    if (!names.joined_router.empty()) names.router = names.joined_router;
    return std::string(layer_of(checkpoint_name(names, std::string(layer) + ".weight")));
}

template <class F>
struct AdapterPlaceWalk {
    static constexpr bool takes_adapter_places = true;
    F& f;

    void operator()(std::string_view, ParameterBase&) const {}
    void operator()(std::string_view name, AdapterPlace& place) const { f(layer_of(name), place); }
};

/// Calls f(name, place) for all places of adapters in a model, each under its layer's name.
template <class Model, class F>
void for_each_adapter_place(Model& model, F&& f) {
    for_each_parameter(model, AdapterPlaceWalk<F>{f});
}

}  // namespace detail

/// The adapters of a model, which they change for as long as they live: what is trained in its place. An
/// optimizer takes them as it takes a model, and a trainer's passes are the model's:
///
///     Transformer<C, Cpu, F32, Adapted> model = load_model<…>(sizes, checkpoint, names);
///     Adapters adapters(model, {.rank = 8, .targets = {"q_proj", "v_proj"}}, seed(1), names);
///     AdamW optimizer{adapters, {.rate = 1e-4}};
///     Trainer trainer(model, optimizer, batches);
///
/// The model's parameters have neither gradients nor a state of the optimizer. It must outlive them.
template <class Model>
class Adapters {
public:
    using Device = typename Model::Device;
    using Precision = typename Model::Precision;
    using Value = typename Model::Value;
    using Gradient = typename Model::Gradient;
    static constexpr bool is_tracked = true;

    /// An adapter, and the layer that has it.
    struct Entry {
        std::string layer;  ///< "blocks.0.attention.query"
        ParameterBase* weight;
        const AdapterBase** place;
        std::shared_ptr<AdapterBase> adapter;  ///< an Adapter or a GroupedAdapter (see AdapterPlace)
        ParameterBase *a, *b;                  ///< its matrices

        int rank() const { return a->extents[a->extents.rank - 2]; }
    };

    /// New adapters, which change nothing yet: A is uniform in ±1/sqrt(in), B is 0. `names` are needed where
    /// targets are a checkpoint's names. Throws Error where an option is out of range, a target names no
    /// layer, or a layer has an adapter already.
    Adapters(Model& model, const AdapterOptions& options, Seed seed, const CheckpointNames& names = {})
        : options_(options), tied_(model.sizes.tied) {
        if (!(options.dropout >= 0 && options.dropout < 1))
            throw Error("adapters: expected a dropout of at least 0, below 1, got " +
                        std::to_string(options.dropout));
        if (options.rank < 1 || !std::isfinite(options.alpha))
            throw Error("adapters: expected a rank of at least 1 and a finite alpha, got " +
                        std::to_string(options.rank) + " and " + std::to_string(options.alpha));
        std::vector<bool> is_found(options.targets.size());
        detail::for_each_adapter_place(model, [&](std::string_view layer, AdapterPlace& place) {
            const std::string otherwise =
                names.block.empty() ? std::string() : detail::checkpoint_layer(names, layer);
            bool is_wanted = false;
            for (std::size_t i = 0; i < options.targets.size(); ++i) {
                const std::string& target = options.targets[i];
                const bool is_any_linear = target == "all-linear" && layer.starts_with("blocks.");
                if (!is_any_linear && !detail::is_layer_called(layer, target) &&
                    !detail::is_layer_called(otherwise, target))
                    continue;
                is_wanted = is_found[i] = true;
            }
            if (is_wanted) add(layer, place, {options.rank, options.scale()}, seed);
        });
        for (std::size_t i = 0; i < is_found.size(); ++i)
            if (!is_found[i])
                throw Error("adapters: expected the name of a layer or its end, got \"" + options.targets[i] +
                            "\"");
        attach();
    }

    /// New adapters where form_of(layer), a std::optional<AdapterForm>, has one. Throws Error where a layer
    /// has an adapter already.
    template <class FormOf>
    Adapters(Model& model, const AdapterOptions& options, FormOf&& form_of)
        : options_(options), tied_(model.sizes.tied) {
        detail::for_each_adapter_place(model, [&](std::string_view layer, AdapterPlace& place) {
            if (const std::optional<AdapterForm> form = form_of(layer)) add(layer, place, *form, Seed{});
        });
        attach();
    }
    Adapters(Adapters&&) = default;
    Adapters& operator=(const Adapters&) = delete;
    /// The model is again what it was before, but for what has been merged.
    ~Adapters() {
        for (Entry& entry : entries_) *entry.place = nullptr;
    }

    const AdapterOptions& options() const { return options_; }
    const std::vector<Entry>& entries() const { return entries_; }
    /// The entry of a layer; null if it has none.
    const Entry* find(std::string_view layer) const {
        for (const Entry& entry : entries_)
            if (entry.layer == layer) return &entry;
        return nullptr;
    }
    bool is_merged() const { return is_merged_; }

    /// Adds the adapters to the weights: the model computes the same without them, as fast as if it had none.
    /// Throws Error, and merges nothing, where the embedding or the head has one, and the two share a weight.
    void merge() { set_merged(true); }
    /// Takes them off again; weights are then what they were but for rounding.
    void unmerge() { set_merged(false); }

    void visit_parameters(ParameterVisitor& visit) {
        for (Entry& entry : entries_) {
            visit(entry.layer + ".lora_A", *entry.a);
            visit(entry.layer + ".lora_B", *entry.b);
        }
    }

private:
    void add(std::string_view layer, AdapterPlace& place, const AdapterForm& form, Seed seed) {
        if (place.adapter)
            throw Error("adapters: expected a layer without an adapter, got " + std::string(layer));
        visit_element_type<Model>(place.weight, [&]<class T>(std::type_identity<T>) {
            const AdapterExtents extents(place.weight.extents, form.rank);
            if (place.weight.extents.rank == 3)
                add(layer, place, std::make_shared<GroupedAdapter<T, Device>>(extents, form.scale));
            else
                add(layer, place, std::make_shared<Adapter<T, Device>>(extents, form.scale));
            ParameterBase &a = *entries_.back().a, &b = *entries_.back().b;
            const Philox random(seed, entries_.size() - 1);
            const double bound = 1 / std::sqrt(a.extents[a.extents.rank - 1]);
            write_elements<T, Device>(a, [&](T* to) {
                for (std::int64_t i = 0; i < a.size(); ++i)
                    to[i] = convert<T>(bound * (2 * random.uniform(static_cast<std::uint64_t>(i)) - 1));
            });
            Memory<Device>::fill(static_cast<T*>(b.data), b.size(), T(0.0f));
        });
    }
    template <class A>
    void add(std::string_view layer, AdapterPlace& place, std::shared_ptr<A> adapter) {
        ParameterBase &a = adapter->a, &b = adapter->b;
        entries_.push_back({std::string(layer), &place.weight, &place.adapter, std::move(adapter), &a, &b});
    }

    /// Once nothing can go wrong any more.
    void attach() {
        for (Entry& entry : entries_) {
            AdapterBase& adapter = *entry.adapter;
            adapter.dropout = options_.dropout;
            adapter.number = static_cast<std::uint64_t>(&entry - entries_.data());
            adapter.count = entries_.size();
            *entry.place = entry.adapter.get();
        }
    }

    void set_merged(bool merged) {
        if (merged == is_merged_) return;
        for (const Entry& entry : entries_)
            if (const bool is_table = entry.layer == "embedding" || entry.layer == "head"; is_table && tied_)
                throw Error("adapters: expected a layer whose weight is its own to merge into, got the " +
                            entry.layer + " of a model whose head is the embedding");
        for (Entry& entry : entries_) {
            visit_element_type<Model>(*entry.weight, [&]<class T>(std::type_identity<T>) {
                add_product<T>(entry, merged ? entry.adapter->scale : -entry.adapter->scale);
            });
            *entry.place = merged ? nullptr : entry.adapter.get();
        }
        is_merged_ = merged;
    }

    /// Adds scale · B A to a layer's weight, for each group.
    template <class T>
    static void add_product(const Entry& entry, double scale) {
        const Extents& extents = entry.weight->extents;
        const int groups = extents.rank == 3 ? extents[0] : 1, out = extents[extents.rank - 2],
                  in = extents[extents.rank - 1], rank = entry.rank();
        entry.weight->own_data();
        const auto matrix_of = [](const ParameterBase& parameter, int group, int rows, int columns) {
            return Tensor<T, Shape<dyn, dyn>, Device>(
                parameter.storage, static_cast<T*>(parameter.data) + group * std::int64_t{rows} * columns,
                Extents(rows, columns));
        };
        for (int group = 0; group < groups; ++group) {
            const auto weight = matrix_of(*entry.weight, group, out, in);
            const Tensor b = scale * matrix_of(*entry.b, group, out, rank);
            const auto sum = matmul_add(b, matrix_of(*entry.a, group, rank, in), Nothing(), weight);
            Memory<Device>::copy(static_cast<const T*>(sum.data()), sum.size(), weight.data());
        }
    }

    AdapterOptions options_;
    std::vector<Entry> entries_;
    bool tied_;
    bool is_merged_ = false;
};

}  // namespace tenon
