#pragma once

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <tenon/core/element.hpp>
#include <tenon/core/parallel.hpp>
#include <tenon/io/checkpoint.hpp>
#include <tenon/io/checkpoint_places.hpp>
#include <tenon/io/list_text.hpp>
#include <tenon/io/read_ahead.hpp>
#include <tenon/io/read_elements.hpp>
#include <tenon/io/safetensors_write.hpp>
#include <tenon/model/configuration.hpp>
#include <tenon/nn/host_elements.hpp>

namespace tenon {
namespace detail {

/// The first of the elements that are not finite, as several threads find them.
class FirstBad {
public:
    void add(std::int64_t element) {
        std::int64_t least = first_.load();
        while (element < least && !first_.compare_exchange_weak(least, element)) {
        }
    }

    /// What is wrong, or nothing.
    std::string message() const {
        return first_ == none
                   ? std::string()
                   : "expected finite elements, got another at element " + std::to_string(first_.load());
    }

private:
    static constexpr std::int64_t none = std::numeric_limits<std::int64_t>::max();

    std::atomic<std::int64_t> first_ = none;
};

/// How many elements a thread takes at once: several threads take pieces in turn, and so use a file about as
/// it is read ahead.
inline constexpr std::int64_t piece_elements = 1 << 18;

/// Elements of a parameter, and as many that follow each other in its tensor.
struct PlaceRun {
    std::int64_t element, stored, count;
};

/// Calls bad(run), the number of a run's first element that is not finite or -1, for all runs of a place, on
/// several threads. Returns what is wrong with the tensor's elements, or nothing.
template <class T, class Bad>
std::string check_runs(const CheckpointPlace& place, const Bad& bad) {
    std::vector<PlaceRun> runs;
    const std::int64_t step = place.step();
    place.for_each_run([&](std::int64_t element, std::int64_t stored, std::int64_t count) {
        for (std::int64_t begin = 0; begin < count; begin += piece_elements)
            runs.push_back({element + begin * step, stored + begin, std::min(piece_elements, count - begin)});
    });
    FirstBad first;
    // A thread takes as many rows of what is transposed as fill lines of the cache.
    const std::int64_t count = std::ssize(runs),
                       together = step == 1 ? 1 : static_cast<std::int64_t>(64 / sizeof(T));
    parallel_for_each((count + together - 1) / together, [&](std::int64_t task) {
        for (std::int64_t i = task * together; i < std::min((task + 1) * together, count); ++i) {
            const PlaceRun& run = runs[static_cast<std::size_t>(i)];
            const std::int64_t found = bad(run);
            if (found >= 0) first.add(run.stored + found);
        }
    });
    return first.message();
}

/// Reads a parameter from a tensor whose shape has been compared. Returns what is wrong with its elements, or
/// nothing.
template <class Entry, class T>
std::string read_place(const Entry& entry, const CheckpointPlace& place, T* to) {
    if (!has_reals(entry)) return "expected real elements, got " + std::string(name_of(entry.type));
    return check_runs<T>(place, [&, step = place.step()](const PlaceRun& run) {
        T* const elements = to + run.element;
        const std::int64_t found = read_elements(entry, run.stored, run.count, elements, step);
        if (place.addend != 0)
            for (std::int64_t j = 0; j < run.count; ++j)
                elements[j * step] =
                    static_cast<T>(static_cast<ComputeOf<T>>(elements[j * step]) - place.addend);
        return found;
    });
}

/// The same for elements that stay where they are, in a tensor of T: those of a borrowed parameter.
template <class T, class Entry>
std::string check_place(const Entry& entry, const CheckpointPlace& place) {
    const auto* const elements = reinterpret_cast<const T*>(entry.bytes.data());
    return check_runs<T>(
        place, [&](const PlaceRun& run) { return first_not_finite(elements + run.stored, run.count); });
}

/// What is wrong with a file, collected so that a message can name all of it.
class Differences {
public:
    explicit Differences(std::string where) : where_(std::move(where)) {}

    void add(std::string_view key, const std::string& problem) {
        if (problem.empty()) return;
        if (++count_ <= shown) list_.push_back(std::string(key) + ": " + problem);
    }

    /// Throws FileError if there are any.
    void raise() const {
        if (count_ == 0) return;
        if (count_ == 1) throw FileError(where_ + ": " + list_[0]);
        std::string text = where_ + ": " + std::to_string(count_) + " tensors are not this model's:";
        for (const std::string& line : list_) text += "\n  " + line;
        if (count_ > shown) text += "\n  and " + std::to_string(count_ - shown) + " more";
        throw FileError(text);
    }

private:
    static constexpr std::size_t shown = 50;

    std::string where_;
    std::size_t count_ = 0;
    std::vector<std::string> list_;
};

/// The tensor under a key; nullptr, and a difference, where there is none or its shape is not `expected`.
template <class Source>
const typename Source::Entry* find_of_shape(const Source& source, const std::string& key,
                                            const std::vector<std::int64_t>& expected,
                                            Differences& differences) {
    const typename Source::Entry* entry = nullptr;
    try {
        entry = &source.at(key);
    } catch (const FileError& error) {  // which lists the nearest names
        const std::string_view message = error.what();
        differences.add(key,
                        std::string(message.substr(std::min(source.where().size() + 2, message.size()))));
        return nullptr;
    }
    if (entry->shape == expected) return entry;
    differences.add(key, "expected shape " + list_text(expected) + ", got " + list_text(entry->shape));
    return nullptr;
}

/// The names of a file that may leave the prefix out, call the head otherwise, join its experts or number
/// them, or part its heads.
template <class Source>
CheckpointNames names_in(const Source& source, CheckpointNames names) {
    const auto has = [&](const CheckpointNames& tried, std::string_view parameter) {
        return source.find(checkpoint_name(tried, parameter)) != nullptr;
    };
    CheckpointNames other = names;
    other.prefix = {};
    if (!has(names, "embedding.weight") && has(other, "embedding.weight")) names = other;
    const auto only_other_has = [&](std::string_view parameter) {
        return !has(names, parameter) && has(other, parameter);
    };
    other = names;
    other.head = names.head_otherwise;
    if (!other.head.empty() && (only_other_has("head.weight") || only_other_has("head.bias"))) names = other;
    other = names;
    other.greek_norms = true;
    if (!names.embedding_norm.empty() && only_other_has("embedding_norm.gain")) names = other;
    other = names;
    other.router = names.joined_router;
    other.experts = {};
    if (!names.joined_gate_up.empty())  // not every block need be a mixture
        source.for_each([&](const typename Source::Entry& entry) {
            if (entry.name.ends_with(other.joined_gate_up)) names = other;
        });
    constexpr std::string_view first = "blocks.0.feed_forward.down";
    other = names;
    other.numbered_experts = true;
    other.expert_gate = names.gate;
    other.expert_up = names.up;
    other.expert_down = names.down;
    if (names.experts.empty() && !names.expert_down.empty() &&
        source.find(expert_name(other, first, 0, names.down)))
        names = other;
    if (!names.key_by_head.empty() && source.find(block_name(names, first, names.key_by_head))) {
        names.key = names.key_by_head;
        names.value = names.value_by_head;
    }
    return names;
}

/// Whether a tensor's name is of a block whose number is `depth` or more.
inline bool is_of_later_block(std::string_view name, const CheckpointNames& names, int depth) {
    for (const std::string_view beginning : {names.prefix, names.block}) {
        if (!name.starts_with(beginning)) return false;
        name.remove_prefix(beginning.size());
    }
    long block = -1;
    const auto end = std::from_chars(name.data(), name.data() + name.size(), block).ptr;
    return end != name.data() + name.size() && *end == '.' && block >= depth;
}

/// Adds the tensors that stand in a file and are no parameters of the model.
template <class Sizes, class Source>
void find_left_over(const Sizes& sizes, const Source& source, const CheckpointNames& names,
                    const std::vector<CheckpointPlace>& places, Differences& differences) {
    std::vector<std::string_view> known;
    for (const CheckpointPlace& place : places) known.push_back(place.tensor);
    std::sort(known.begin(), known.end());
    source.for_each([&](const typename Source::Entry& entry) {
        if (std::binary_search(known.begin(), known.end(), entry.name)) return;
        for (const std::string_view ignored : names.ignored)
            if (!ignored.empty() && entry.name.ends_with(ignored)) return;
        if (names.later_blocks && is_of_later_block(entry.name, names, sizes.depth)) return;
        // A tied model's file may hold the head, too: the same numbers under a second name.
        const std::string embedding = checkpoint_name(names, "embedding.weight");
        if (!sizes.tied || entry.name != checkpoint_name(names, "head.weight"))
            return differences.add(entry.name, "expected no such tensor in this model");
        const auto* same = source.find(embedding);
        if (same &&
            !std::equal(entry.bytes.begin(), entry.bytes.end(), same->bytes.begin(), same->bytes.end()))
            differences.add(entry.name, "expected the elements of " + embedding +
                                            ", to which the head is tied, got others");
    });
}

/// A parameter's place, and the tensor that it is part of.
template <class Entry>
struct PlacedTensor {
    CheckpointPlace place;
    const Entry* entry;
};

/// All that a model needs of a file. Throws FileError with every difference of names and shapes.
template <class Model, class Source>
std::vector<PlacedTensor<typename Source::Entry>> placed_tensors(Model& model, const Source& source,
                                                                 const CheckpointNames& given) {
    const CheckpointNames names = names_in(source, given);
    const std::vector<CheckpointPlace> places = checkpoint_places(model, names);
    Differences differences(source.where());
    std::vector<PlacedTensor<typename Source::Entry>> result;
    for (const CheckpointPlace& place : places)
        // Those that share a tensor would say the same of it.
        result.push_back({place, place.first_output == 0
                                     ? find_of_shape(source, place.tensor, place.shape(), differences)
                                     : source.find(place.tensor)});
    find_left_over(model.sizes, source, names, places, differences);
    differences.raise();
    return result;
}

/// Throws FileError where a source has fewer tensors than a model blocks: even a block without parameters
/// takes memory.
template <class Source>
void require_tensors_of_blocks(const TransformerSizes& sizes, const Source& source) {
    if (static_cast<std::size_t>(std::max(sizes.depth, 0)) > source.size())
        throw FileError(source.where() + ": expected the tensors of " + std::to_string(sizes.depth) +
                        " blocks, got " + std::to_string(source.size()) + " tensors");
}

/// What reading needs to know of a model, so that it is compiled once for all models with the same.
template <class V, class D, class Master, class Weight>
struct ParameterTypes {
    using Value = V;
    using Device = D;
    struct Precision {
        using storage = V;
        using master = Master;
        using weight = Weight;
    };
};

/// Gives parameters that take a file's type that of the tensors they are made of, if it is one and may be
/// theirs, else f32. Before they have memory: a type that a parameter has memory for stays.
template <class Entry>
void take_types(const std::vector<PlacedTensor<Entry>>& tensors) {
    const auto type_of = [](const PlacedTensor<Entry>& tensor) {
        const std::optional<ElementType> type = plain_type(*tensor.entry);
        const bool is_taken = type && tensor.place.addend == 0 && may_be_stored_as<StoredReal>(*type);
        return is_taken ? *type : ElementType::f32;
    };
    const ParameterBase* last = nullptr;
    for (const PlacedTensor<Entry>& tensor : tensors) {
        ParameterBase& parameter = *tensor.place.parameter;
        if (!parameter.takes_type || parameter.data) continue;
        const ElementType type = type_of(tensor);
        if (&parameter != last)
            parameter.type = type;
        else if (parameter.type != type)
            parameter.type = ElementType::f32;
        last = &parameter;
    }
}

/// Reads parameters, in the order in which a file has them; of those that are borrowed it only looks whether
/// they are finite.
template <class Types, class Entry>
void read_parameters_of(const std::vector<PlacedTensor<Entry>>& tensors, const std::string& where) {
    Differences differences(where);
    std::vector<std::span<const std::byte>> parts;
    for (const PlacedTensor<Entry>& tensor : tensors) parts.push_back(tensor.entry->bytes);
    const ReadAhead reads_ahead(std::move(parts));
    std::vector<std::span<const PlacedTensor<Entry>>> groups;  // by parameter
    for (std::size_t first = 0, last = 0; first < tensors.size(); first = last) {
        while (last < tensors.size() && tensors[last].place.parameter == tensors[first].place.parameter)
            ++last;
        groups.push_back(std::span(tensors).subspan(first, last - first));
    }
    std::stable_sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
        return std::less<>()(a[0].entry->bytes.data(), b[0].entry->bytes.data());
    });
    std::vector<std::string> problems(tensors.size());  // told in the model's order
    for (const auto& group : groups) {
        ParameterBase& parameter = *group[0].place.parameter;
        std::string* const problem = &problems[static_cast<std::size_t>(group.data() - tensors.data())];
        visit_element_type<Types>(parameter, [&]<class T>(std::type_identity<T>) {
            if (parameter.is_borrowed()) {
                problem[0] = check_place<T>(*group[0].entry, group[0].place);
                return;
            }
            write_elements<T, typename Types::Device>(parameter, [&](T* to) {
                for (std::size_t i = 0; i < group.size(); ++i)
                    problem[i] = read_place(*group[i].entry, group[i].place, to);
            });
        });
    }
    for (std::size_t i = 0; i < tensors.size(); ++i) differences.add(tensors[i].place.tensor, problems[i]);
    differences.raise();
}

template <class Model, class Entry>
void read_parameters(const std::vector<PlacedTensor<Entry>>& tensors, const std::string& where) {
    using Value = typename Model::Value;
    using Weight = std::conditional_t<has_stored_weights<Model>, StoredReal, Value>;
    using Types = ParameterTypes<Value, typename Model::Device, tenon::MasterOf<Model>, Weight>;
    read_parameters_of<Types>(tensors, where);
}

/// The bytes of a tensor that is made of the parameters that have a place in it, as `first` does.
template <class Model>
std::vector<std::byte> joined_bytes(const std::vector<CheckpointPlace>& places,
                                    const CheckpointPlace& first) {
    return visit_element_type<Model>(*first.parameter, [&]<class T>(std::type_identity<T>) {
        std::size_t count = 1;
        for (const std::int64_t length : first.shape()) count *= static_cast<std::size_t>(length);
        std::vector<std::byte> bytes(count * sizeof(T));
        T* const to = reinterpret_cast<T*>(bytes.data());
        for (const CheckpointPlace& place : places) {
            if (place.tensor != first.tensor) continue;
            const HostElements<typename Model::Device> elements(*place.parameter);
            const T* const values = elements.template data<T>();
            place.for_each_run([&](std::int64_t element, std::int64_t stored, std::int64_t run) {
                for (std::int64_t i = 0; i < run; ++i) {
                    const T value = values[element + i * place.step()];
                    to[stored + i] = place.addend == 0  // which would make a 0 of -0
                                         ? value
                                         : static_cast<T>(static_cast<ComputeOf<T>>(value) + place.addend);
                }
            });
        }
        return bytes;
    });
}

}  // namespace detail

/// Loads all parameters of a model from a Checkpoint, a Safetensors file or a Gguf file, each converted to
/// its parameter's type (see StoredWeights for those that take the file's). Throws FileError, naming the file
/// and every key, where tensors are missing, have another shape, are left over, or hold what is not finite,
/// so that nothing is silently wrong. Names and shapes are compared before anything is loaded. A model that
/// borrowed its parameters has memory of its own then.
template <class Model, class Source>
void load_parameters(Model& model, const Source& source, const CheckpointNames& names) {
    const auto tensors = detail::placed_tensors(model, source, names);
    for_each_parameter(model, [](std::string_view, ParameterBase& parameter) {
        if (parameter.takes_type) parameter.storage = {};       // what it has may be of another type
        if (parameter.is_borrowed()) parameter.data = nullptr;  // not the model's to write
    });
    detail::take_types(tensors);
    allocate_parameters(model);
    detail::read_parameters<Model>(tensors, source.where());
}

/// A model of these sizes, and whatever else it is made from, with the parameters of a checkpoint. Whether
/// the checkpoint is of that model is looked at before memory for parameters is taken, so that a wrong
/// configuration does not ask for it without bounds. Throws like `load_parameters`.
template <class Model, class Source, class... Options>
Model load_model(const TransformerSizes& sizes, const Source& source, const CheckpointNames& names,
                 const Options&... options) {
    detail::require_tensors_of_blocks(sizes, source);
    Model model(sizes, options..., UnallocatedParameters());
    const auto tensors = detail::placed_tensors(model, source, names);
    detail::take_types(tensors);
    allocate_parameters(model);
    detail::read_parameters<Model>(tensors, source.where());
    return model;
}

/// Writes all parameters of a model as a safetensors file: to a temporary file first, synced and renamed.
/// Throws FileError.
template <class Model>
void save_parameters(Model& model, const std::string& path, const CheckpointNames& names) {
    using Device = typename Model::Device;
    std::vector<SafetensorsTensor> tensors;
    std::vector<std::vector<std::byte>> joined;  // of tensors that are no parameter's memory
    std::vector<HostElements<Device>> whole;
    const auto places = checkpoint_places(model, names);
    joined.reserve(places.size());
    whole.reserve(places.size());
    const ParameterBase* last = nullptr;  // of those whose elements the host has
    for (const CheckpointPlace& first : places) {
        if (first.first_output != 0) continue;
        std::span<const std::byte> bytes;
        if (first.is_whole()) {
            if (first.parameter != last) whole.emplace_back(*first.parameter);
            last = first.parameter;
            const std::size_t each = size_of(last->type);
            bytes = whole.back().bytes().subspan(static_cast<std::size_t>(first.first_element) * each,
                                                 static_cast<std::size_t>(first.extents.count()) * each);
        } else {
            bytes = joined.emplace_back(detail::joined_bytes<Model>(places, first));
        }
        tensors.push_back({first.tensor, first.parameter->type, first.shape(), bytes});
    }
    const std::pair<std::string, std::string> metadata[] = {{"format", "pt"}};
    write_safetensors(path, tensors, metadata);
}

}  // namespace tenon
