#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tenon/files.hpp>

#include "../device.hpp"
#include "../io/temporary_folder.hpp"

/// A model against what PyTorch and transformers computed, from the files of one folder.
namespace reference {

/// What a program returns for a folder whose architecture is not supported.
inline constexpr int skipped = 77;

using tenon::Cpu;
using tenon::dyn;
using tenon::Shape;
using tenon::support::Device;

/// Of all that is computed in f32, relative; what PyTorch and tenon round differently makes at most a fifth
/// of it. Looser bounds would let a changed epsilon pass.
inline constexpr double tolerance = std::same_as<Device, Cpu> ? 1e-5 : 1e-4;

/// Of logits in bf16, where each of a model's values is rounded to 8 bits. PyTorch's own are 0.010 (gpt2),
/// 0.019 (llama) and 0.023 (llama_tied) from those in f32.
inline constexpr double bf16_tolerance = 2e-2;

/// The greatest of errors; NaN, once met, stays.
class Worst {
public:
    void keep(double error) {
        if (error <= worst_ || worst_ != worst_) return;
        worst_ = error;
    }
    double get() const { return worst_; }

private:
    double worst_ = 0;
};

/// Prints each figure beside its bound, and remembers whether one was missed.
class Report {
public:
    void expect(const std::string& what, double error, double bound) {
        const bool passes = error <= bound;  // NaN does not
        std::printf("%-60s %10.3g  (at most %g)%s\n", what.c_str(), error, bound, passes ? "" : "  FAILED");
        failures_ += !passes;
        ++checks_;
    }
    int result() const {
        std::printf("%d checks, %d failed\n", checks_, failures_);
        return failures_ == 0 && checks_ > 0 ? 0 : 1;
    }

private:
    int checks_ = 0, failures_ = 0;
};

inline double relative_error(double value, double expected) {
    return value == expected ? 0 : std::abs(value - expected) / std::abs(expected);
}

/// The norm of the difference of numbers from what they should be, over the norm of the latter.
class RelativeError {
public:
    /// The caller has compared the shapes.
    void add(const float* values, const std::vector<float>& expected) {
        for (std::size_t i = 0; i < expected.size(); ++i) {
            const double e = expected[i], d = values[i] - e;
            difference_ += d * d;
            norm_ += e * e;
        }
    }
    double get() const { return difference_ == 0 ? 0 : std::sqrt(difference_ / norm_); }

private:
    double difference_ = 0, norm_ = 0;
};

inline double relative_error(const float* values, const std::vector<float>& expected) {
    RelativeError error;
    error.add(values, expected);
    return error.get();
}

using Lengths = std::vector<std::int64_t>;

inline Lengths lengths_of(const tenon::Extents& extents) {
    return {extents.size, extents.size + extents.rank};
}

inline std::string text_of(const Lengths& lengths) {
    std::string text = "[";
    for (const std::int64_t length : lengths) text += (text.size() > 1 ? ", " : "") + std::to_string(length);
    return text + "]";
}

[[noreturn]] inline void fail(const tenon::Safetensors& file, std::string_view key,
                              const std::string& problem) {
    throw tenon::FileError(file.where() + ": " + std::string(key) + ": " + problem);
}

/// A file's tensor of exactly this type and shape.
template <class T>
std::vector<T> read(const tenon::Safetensors& file, std::string_view key, const Lengths& shape) {
    const tenon::SafetensorsEntry& entry = file.at(key);
    if (entry.type != tenon::element_type_of<T>())
        fail(file, key,
             "expected elements of type " + std::string(name_of(tenon::element_type_of<T>())) + ", got " +
                 std::string(name_of(entry.type)));
    if (entry.shape != shape)
        fail(file, key, "expected shape " + text_of(shape) + ", got " + text_of(entry.shape));
    std::vector<T> values(entry.bytes.size() / sizeof(T));
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    return values;
}

/// The rows and columns of a file's table of ids.
inline Lengths table_shape(const tenon::Safetensors& file, std::string_view key) {
    const Lengths& shape = file.at(key).shape;
    if (shape.size() != 2 || shape[0] < 1 || shape[1] < 2)
        fail(file, key, "expected rows of at least 2 tokens, got shape " + text_of(shape));
    return shape;
}

using Ids = tenon::Tensor<std::int64_t, Shape<dyn, dyn>, Device>;

/// Columns [begin, end) of a table of ids with `width` columns.
inline Ids columns(const std::vector<std::int64_t>& ids, int width, int begin, int end) {
    const int rows = static_cast<int>(ids.size()) / width;
    std::vector<std::int64_t> part;
    for (int row = 0; row < rows; ++row)
        for (int column = begin; column < end; ++column)
            part.push_back(ids[static_cast<std::size_t>(row * width + column)]);
    return Ids::from(part, rows, end - begin);
}

/// Compares what values_of(parameter) gives, row-major, with a file, tensor by tensor: a tensor may hold
/// several parameters, of which one has no gradient but for rounding (the bias of keys without rotation).
template <class Model, class ValuesOf>
void expect_parameters(Report& report, Model& model, const tenon::Safetensors& file,
                       const tenon::CheckpointNames& given, const std::string& what, ValuesOf values_of) {
    std::map<std::string, RelativeError> errors;
    const tenon::CheckpointNames names = tenon::detail::names_in(file, given);
    for (const tenon::CheckpointPlace& place : tenon::checkpoint_places(model, names)) {
        // No loss trains it.
        if (!names.router_bias.empty() && place.tensor.ends_with(names.router_bias)) continue;
        const tenon::SafetensorsEntry& entry = file.at(place.tensor);
        if (entry.type != tenon::ElementType::f32 || entry.shape != place.shape())
            fail(file, place.tensor,
                 "expected f32 of shape " + text_of(place.shape()) + ", got " +
                     std::string(name_of(entry.type)) + " of shape " + text_of(entry.shape));
        std::vector<float> expected(static_cast<std::size_t>(place.parameter->size()));
        tenon::detail::read_place(entry, place, expected.data());
        errors[place.tensor].add(values_of(*place.parameter).data(), expected);
    }
    for (const auto& [tensor, error] : errors) report.expect(what + " " + tensor, error.get(), tolerance);
    if (errors.size() != file.size())
        throw tenon::FileError(file.where() + ": expected " + std::to_string(errors.size()) +
                               " tensors for this model, got " + std::to_string(file.size()));
}

/// What lies in a parameter's memory, or its gradient's.
inline std::vector<float> copied(const tenon::ParameterBase& parameter, const void* data) {
    std::vector<float> values(static_cast<std::size_t>(parameter.size()));
    tenon::Memory<Device>::copy(static_cast<const float*>(data), parameter.size(), values.data());
    return values;
}

inline std::vector<float> gradient_of(const tenon::ParameterBase& parameter) {
    if (!parameter.gradient->written) throw tenon::Error("a parameter received no gradient");
    return copied(parameter, parameter.gradient->storage.data());
}

/// Greedy decoding by whole passes, whose last row of logits is searched here.
template <class Model>
std::vector<std::int64_t> generate_in_passes(const Model& model, std::vector<std::int64_t> tokens,
                                             std::size_t length) {
    while (tokens.size() < length) {
        const int time = static_cast<int>(tokens.size());
        const auto ids = tenon::Tensor<std::int64_t, Shape<1, dyn>, Device>::from(tokens, time);
        const tenon::Tensor logits = on_host(model(ids).tensor());
        int best = 0;
        for (int token = 1; token < logits.extent(2); ++token)
            if (logits(0, time - 1, token) > logits(0, time - 1, best)) best = token;
        tokens.push_back(best);
    }
    return tokens;
}

/// Greedy decoding by the library's generator, with its cache.
template <class Model>
std::vector<std::int64_t> generate_with_cache(const Model& model, std::vector<std::int64_t> tokens,
                                              std::size_t length) {
    tenon::Generator generator(model, {.temperature = 0});
    for (const std::int64_t token : tokens) {
        const auto narrow = static_cast<std::int32_t>(token);
        generator.feed({&narrow, 1});
    }
    while (tokens.size() < length) tokens.push_back(generator.next());
    return tokens;
}

/// Greedy generation, with and without the cache.
template <class Model>
void check_generation(Report& report, const Model& model, const tenon::Safetensors& file) {
    const auto ids_of = [&](std::string_view key) {
        const Lengths& shape = file.at(key).shape;
        if (shape.size() != 2 || shape[0] != 1 || shape[1] < 1)
            fail(file, key, "expected one row of tokens, got shape " + text_of(shape));
        return read<std::int64_t>(file, key, shape);
    };
    const std::vector<std::int64_t> prompt = ids_of("prompt"), generated = ids_of("generated");
    if (generated.size() <= prompt.size() || generated.size() > static_cast<std::size_t>(model.sizes.context))
        fail(file, "generated",
             "expected more tokens than the prompt's " + std::to_string(prompt.size()) +
                 " and no more than the context's " + std::to_string(model.sizes.context) + ", got " +
                 std::to_string(generated.size()));
    const auto expect = [&](const std::string& what, const std::vector<std::int64_t>& tokens) {
        int different = 0;
        for (std::size_t i = 0; i < generated.size(); ++i) different += tokens[i] != generated[i];
        report.expect(what, different, 0);
    };
    expect("tokens that differ, without cache", generate_in_passes(model, prompt, generated.size()));
    expect("tokens that differ, with cache", generate_with_cache(model, prompt, generated.size()));
}

/// Saving gives the file that was loaded: the same tensors, but for those that are no parameters, to the last
/// bit.
template <class Model>
void check_saving(Report& report, Model& model, const tenon::Checkpoint& loaded,
                  const tenon::CheckpointNames& names) {
    const TemporaryFolder folder;
    const std::string path = folder / "model.safetensors";
    tenon::save_parameters(model, path, tenon::detail::names_in(loaded, names));
    const tenon::Safetensors saved = tenon::Safetensors::open(path);
    std::size_t same = 0, ignored = 0;
    loaded.for_each([&](const tenon::SafetensorsEntry& entry) {
        const tenon::SafetensorsEntry* other = saved.find(entry.name);
        same += other && other->type == entry.type && other->shape == entry.shape &&
                std::equal(entry.bytes.begin(), entry.bytes.end(), other->bytes.begin());
        ignored += !other &&
                   std::any_of(std::begin(names.ignored), std::end(names.ignored), [&](std::string_view end) {
                       return !end.empty() && entry.name.ends_with(end);
                   });
    });
    report.expect("tensors that differ when saved",
                  static_cast<double>(loaded.size() - ignored - same + (saved.size() - same)), 0);
}

/// Of each token of a pass, whether a mixture's roundings reached it: those of a router between experts that
/// score alike, where its type chose others than a wider type does, in this token or in one that it attends
/// to.
template <class Model, class Wide>
std::vector<bool> sent_elsewhere(const Model& model, const Wide& wide, const Ids& ids) {
    tenon::RoutingRecord<typename Model::Setting> record;
    tenon::RoutingRecord<typename Wide::Setting> wide_record;
    const auto logits = model(ids, record).tensor();
    const auto wide_logits = wide(ids, wide_record).tensor();
    const std::size_t time = static_cast<std::size_t>(ids.extent(1)), layers = record.layers().size();
    std::vector<bool> elsewhere(static_cast<std::size_t>(ids.size()));
    for (std::size_t layer = 0; layer < layers; ++layer) {
        const auto& chosen = on_host(record.layers()[layer].chosen);
        const auto& expected = on_host(wide_record.layers()[layer].chosen);
        const std::size_t each = static_cast<std::size_t>(chosen.extent(1));
        for (std::size_t token = 0; token < elsewhere.size(); ++token) {
            const auto first = token * each, last = first + each;
            if (std::is_permutation(chosen.data() + first, chosen.data() + last, expected.data() + first))
                continue;
            const bool is_last = layer + 1 == layers;
            const std::size_t end = is_last ? token + 1 : (token / time + 1) * time;
            std::fill(elsewhere.begin() + static_cast<std::ptrdiff_t>(token),
                      elsewhere.begin() + static_cast<std::ptrdiff_t>(end), true);
        }
    }
    return elsewhere;
}

/// Logits in bf16; of mixtures of experts, of the tokens that are sent to the same experts.
template <class Model>
void check_rounded(Report& report, const Model& model, const Ids& ids, const tenon::Checkpoint& checkpoint,
                   const tenon::Architecture& architecture, const std::vector<float>& expected) {
    using C = typename Model::Configuration;
    tenon::Transformer<C, Device, tenon::MixedBf16> narrow(architecture.sizes);
    tenon::load_parameters(narrow, checkpoint, architecture.names);
    const auto rounded = tenon::cast<float>(on_host(narrow(ids).tensor()));
    if constexpr (!C::mixture_of_experts) {
        report.expect("logits in bf16", relative_error(rounded.data(), expected), bf16_tolerance);
    } else {
        const std::vector<bool> elsewhere = sent_elsewhere(narrow, model, ids);
        const std::size_t width = expected.size() / elsewhere.size();
        RelativeError error;
        double left_out = 0;
        for (std::size_t token = 0; token < elsewhere.size(); ++token) {
            const float* const begin = expected.data() + token * width;
            if (elsewhere[token])
                left_out += 1 / static_cast<double>(elsewhere.size());
            else
                error.add(rounded.data() + token * width, std::vector<float>(begin, begin + width));
        }
        report.expect("logits in bf16", error.get(), bf16_tolerance);
        report.expect("tokens left out, as roundings chose their experts", left_out, 0.25);
    }
}

/// Logits, loss, gradients, greedy generation and saving of a checkpoint.
template <class Model>
void check_checkpoint(Report& report, const std::string& folder, const tenon::Architecture& architecture) {
    const tenon::Safetensors expected = tenon::Safetensors::open(folder + "/reference.safetensors");
    tenon::Trainable<Model> trainable(architecture.sizes);
    const tenon::Checkpoint checkpoint = tenon::open_checkpoint(folder);
    tenon::load_parameters(trainable, checkpoint, architecture.names);
    check_saving(report, trainable, checkpoint, architecture.names);
    const Model model(trainable);

    const Lengths shape = table_shape(expected, "input_ids");
    const std::vector<std::int64_t> ids = read<std::int64_t>(expected, "input_ids", shape);
    const int time = static_cast<int>(shape[1]);
    const tenon::Tensor logits = on_host(model(columns(ids, time, 0, time)).tensor());
    const Lengths logits_shape{shape[0], shape[1], architecture.sizes.vocabulary};
    report.expect("logits", relative_error(logits.data(), read<float>(expected, "logits", logits_shape)),
                  tolerance);

    if constexpr (!std::same_as<Device, Cpu>)
        check_rounded(report, model, columns(ids, time, 0, time), checkpoint, architecture,
                      read<float>(expected, "logits", logits_shape));

    // Nothing follows the last tokens. They are there, as positions may be turned by the sequence's length.
    const std::int64_t nothing = -1;
    std::vector<std::int64_t> following(ids.begin() + 1, ids.end());
    following.push_back(nothing);
    for (int last = time - 1; last < static_cast<int>(following.size()); last += time)
        following[static_cast<std::size_t>(last)] = nothing;
    const auto loss = tenon::cross_entropy(trainable(columns(ids, time, 0, time)),
                                           columns(following, time, 0, time), {.ignore = nothing});
    report.expect("loss", relative_error(loss.item(), read<float>(expected, "loss", {1})[0]), tolerance);

    if (tenon::path_exists(folder + "/grads.safetensors")) {
        tenon::backward(loss);
        expect_parameters(report, trainable, tenon::Safetensors::open(folder + "/grads.safetensors"),
                          architecture.names, "gradient", gradient_of);
    }
    check_generation(report, model, expected);
}

/// Table number `step` of tables of ids, as a tensor of the shape S.
template <class S>
tenon::Tensor<std::int64_t, S, Device> table_of(const std::vector<std::int64_t>& ids,
                                                const tenon::Extents& extents, int step) {
    auto table = tenon::Tensor<std::int64_t, S, Device>::with_extents(extents);
    tenon::Memory<Device>::copy(ids.data() + step * table.size(), table.size(), table.data());
    return table;
}

/// The losses, gradient norms, learning rates and final parameters of a whole training run, whose batches
/// have the shape S.
template <class Model, class S>
void check_trajectory(Report& report, const std::string& folder, const tenon::Architecture& architecture,
                      const tenon::ConfigurationTable& table) {
    const tenon::Safetensors expected = tenon::Safetensors::open(folder + "/trajectory.safetensors");
    tenon::Trainable<Model> model(architecture.sizes);
    tenon::load_parameters(model, tenon::Safetensors::open(folder + "/init.safetensors"), architecture.names);
    tenon::AdamW optimizer{model,
                           {.beta1 = table.require_real("betas.0"),
                            .beta2 = table.require_real("betas.1"),
                            .epsilon = table.require_real("eps"),
                            .decay = table.require_real("weight_decay")}};
    const tenon::CosineSchedule schedule{.maximum = table.require_real("max_lr"),
                                         .minimum = table.require_real("min_lr"),
                                         .warmup = table.require_integer("warmup"),
                                         .end = table.require_integer("cosine_end")};

    const std::int64_t steps = table.require_integer("steps"),
                       batch_size = table.require_integer("batch_size"),
                       time = table.require_integer("context_length");
    const Lengths ids_shape{steps, batch_size, time};
    const std::vector<std::int64_t> inputs = read<std::int64_t>(expected, "inputs", ids_shape),
                                    targets = read<std::int64_t>(expected, "targets", ids_shape);
    const std::vector<float> losses = read<float>(expected, "losses", {steps}),
                             norms = read<float>(expected, "grad_norms", {steps}),
                             rates = read<float>(expected, "lrs", {steps});
    const tenon::Extents extents(static_cast<int>(batch_size), static_cast<int>(time));
    Worst loss_error, norm_error, rate_error;
    for (int step = 0; step < static_cast<int>(steps); ++step) {
        const auto x = table_of<S>(inputs, extents, step), y = table_of<S>(targets, extents, step);
        if (step == 0) {
            const tenon::Tensor logits = on_host(Model(model)(x).tensor());
            const Lengths shape{batch_size, time, architecture.sizes.vocabulary};
            report.expect("logits of step 0",
                          relative_error(logits.data(), read<float>(expected, "logits_step0", shape)),
                          tolerance);
        }
        const auto loss = tenon::cross_entropy(model(x), y);
        tenon::backward(loss);
        if (step == 0)
            expect_parameters(report, model, tenon::Safetensors::open(folder + "/grads_step0.safetensors"),
                              architecture.names, "gradient of step 0", gradient_of);
        const double norm = optimizer.clip(table.require_real("grad_clip"));
        optimizer.rate = schedule(step);
        optimizer.step();
        const auto i = static_cast<std::size_t>(step);
        loss_error.keep(relative_error(loss.item(), losses[i]));
        norm_error.keep(relative_error(norm, norms[i]));
        rate_error.keep(relative_error(optimizer.rate, rates[i]));
    }
    report.expect("losses of all steps", loss_error.get(), tolerance);
    report.expect("gradient norms of all steps", norm_error.get(), tolerance);
    report.expect("learning rates of all steps", rate_error.get(), 1e-7);  // they are stored in f32
    expect_parameters(
        report, model, tenon::Safetensors::open(folder + "/final.safetensors"), architecture.names, "final",
        [](const tenon::ParameterBase& parameter) { return copied(parameter, parameter.data); });
}

/// Checks whatever a folder holds; the batches of a trajectory have the shape S. The result is a program's.
template <class C, class S>
int check(const std::string& folder, const tenon::Architecture& architecture,
          const tenon::ConfigurationTable& table) try {
    using Model = tenon::Transformer<C, Device>;
    Report report;
    if (tenon::path_exists(folder + "/trajectory.safetensors"))
        check_trajectory<Model, S>(report, folder, architecture, table);
    else
        check_checkpoint<Model>(report, folder, architecture);
    return report.result();
} catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
}

/// The main function of a program that takes a folder: run(folder) returns what it ends with.
template <class Run>
int main_of_folder(int count, char** values, const Run& run) try {
    if (count != 2) {
        std::printf("usage: %s FOLDER\n", values[0]);
        return 2;
    }
    if (!tenon::support::has_device()) {
        std::printf("skipped: there is no GPU that CUDA can use\n");
        return skipped;
    }
    return run(std::string(values[1]));
} catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
}

}  // namespace reference
