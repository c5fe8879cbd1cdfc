#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tenon/core/cast.hpp>
#include <tenon/core/error.hpp>
#include <tenon/core/random.hpp>
#include <tenon/model/checkpoint_names.hpp>
#include <tenon/nn/adapted_linear.hpp>
#include <tenon/nn/host_elements.hpp>

namespace tenon {

struct AdapterOptions {
    int rank = 8;
    double alpha = 16;             ///< an adapter's result is multiplied by alpha / rank…
    bool rank_stabilized = false;  ///< …or by alpha / sqrt(rank) (Kalajdzievski 2023, "rsLoRA")
    /// Which linear layers are adapted: whole names or their ends, as the model has them ("attention.query")
    /// or as its checkpoint does ("q_proj"); "all-linear": all.
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

/// The checkpoint's name of a layer "blocks.0.attention.query": "model.layers.0.self_attn.q_proj".
inline std::string checkpoint_layer(const CheckpointNames& names, std::string_view layer) {
    std::string name = checkpoint_name(names, std::string(layer) + ".weight");
    name.resize(name.size() - std::string_view(".weight").size());
    return name;
}

template <class F>
struct AdapterPlaceWalk {
    static constexpr bool takes_adapter_places = true;
    F& f;

    void operator()(std::string_view, ParameterBase&) const {}
    void operator()(std::string_view name, AdapterPlace& place) const {
        f(name.substr(0, name.size() - 1), place);
    }
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
    using Matrices = Adapter<Value, Device>;
    static constexpr bool is_tracked = true;

    /// An adapter, and the layer that has it.
    struct Entry {
        std::string layer;  ///< "blocks.0.attention.query"
        ParameterBase* weight;
        const AdapterBase** place;
        std::unique_ptr<Matrices> adapter;
    };

    /// New adapters, which change nothing yet: A is uniform in ±1/sqrt(in), B is 0. `names` are needed where
    /// targets are a checkpoint's names. Throws Error where an option is out of range, a target names no
    /// linear layer, or a layer has an adapter already.
    Adapters(Model& model, const AdapterOptions& options, Seed seed, const CheckpointNames& names = {})
        : options_(options) {
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
                if (target != "all-linear" && !detail::is_layer_called(layer, target) &&
                    !detail::is_layer_called(otherwise, target))
                    continue;
                is_wanted = is_found[i] = true;
            }
            if (is_wanted) add(layer, place, {options.rank, options.scale()}, seed);
        });
        for (std::size_t i = 0; i < is_found.size(); ++i)
            if (!is_found[i])
                throw Error("adapters: expected the name of a linear layer or its end, got \"" +
                            options.targets[i] + "\"");
        attach();
    }

    /// New adapters where form_of(layer), a std::optional<AdapterForm>, has one. Throws Error where a layer
    /// has an adapter already.
    template <class FormOf>
    Adapters(Model& model, const AdapterOptions& options, FormOf&& form_of) : options_(options) {
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
    bool is_merged() const { return is_merged_; }

    /// Adds the adapters to the weights: the model computes the same without them, as fast as if it had none.
    void merge() { set_merged(true); }
    /// Takes them off again; weights are then what they were but for rounding.
    void unmerge() { set_merged(false); }

    void visit_parameters(ParameterVisitor& visit) {
        for (Entry& entry : entries_) {
            visit(entry.layer + ".lora_A", entry.adapter->a);
            visit(entry.layer + ".lora_B", entry.adapter->b);
        }
    }

private:
    void add(std::string_view layer, AdapterPlace& place, const AdapterForm& form, Seed seed) {
        if (place.adapter)
            throw Error("adapters: expected a layer without an adapter, got " + std::string(layer));
        const int out = place.weight.extents[0], in = place.weight.extents[1];
        auto adapter = std::make_unique<Matrices>(out, in, form.rank, form.scale);
        const Philox random(seed, entries_.size());
        const double bound = 1 / std::sqrt(in);
        write_elements<Value, Device>(adapter->a, [&](Value* to) {
            for (std::int64_t i = 0; i < adapter->a.size(); ++i)
                to[i] = convert<Value>(bound * (2 * random.uniform(static_cast<std::uint64_t>(i)) - 1));
        });
        Memory<Device>::fill(static_cast<Value*>(adapter->b.data), adapter->b.size(), Value(0.0f));
        entries_.push_back({std::string(layer), &place.weight, &place.adapter, std::move(adapter)});
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
        for (Entry& entry : entries_) {
            const Matrices& own = *entry.adapter;
            ParameterBase& parameter = *entry.weight;
            const Tensor<Value, Shape<dyn, dyn>, Device> weight(
                parameter.storage, static_cast<Value*>(parameter.own_data()), parameter.extents);
            const Tensor b = (merged ? own.scale : -own.scale) * own.b.value();
            const auto sum = matmul_add(b, own.a.value(), Nothing(), weight);
            Memory<Device>::copy(static_cast<const Value*>(sum.data()), sum.size(), weight.data());
            *entry.place = merged ? nullptr : &own;
        }
        is_merged_ = merged;
    }

    AdapterOptions options_;
    std::vector<Entry> entries_;
    bool is_merged_ = false;
};

}  // namespace tenon
