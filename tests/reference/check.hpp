#pragma once

#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <tenon/files.hpp>
#include <tenon/tenon.hpp>

/// A model against what PyTorch and transformers computed, from the files of one folder.
namespace reference {

/// What a program returns for a folder whose architecture is not supported.
inline constexpr int skipped = 77;

using tenon::dyn;
using tenon::Shape;
using Ids = tenon::Tensor<std::int64_t, Shape<dyn, dyn>>;

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

/// The norm of the difference over the norm of the reference.
inline double relative_error(const float* value, const float* expected, std::int64_t count) {
    double difference = 0, norm = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        const double e = expected[i], d = value[i] - e;
        difference += d * d;
        norm += e * e;
    }
    return std::sqrt(difference / norm);
}

template <class T>
std::vector<T> elements(const tenon::Safetensors& file, std::string_view key) {
    const tenon::SafetensorsEntry& entry = file.at(key);
    if (entry.type != tenon::element_type_of<T>()) throw tenon::FileError(file.where() + ": " + std::string(key) + ": unexpected type");
    std::vector<T> values(entry.bytes.size() / sizeof(T));
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    return values;
}

/// Columns [begin, end) of a table of ids with `width` columns.
inline Ids columns(const std::vector<std::int64_t>& ids, int width, int begin, int end) {
    const int rows = static_cast<int>(ids.size()) / width;
    Ids part = Ids::uninitialized(rows, end - begin);
    for (int row = 0; row < rows; ++row)
        for (int column = begin; column < end; ++column) part(row, column - begin) = ids[static_cast<std::size_t>(row * width + column)];
    return part;
}

/// Compares what a visit of the parameters finds with a file, tensor by tensor.
template <class Model, class ValuesOf>
void expect_parameters(Report& report, Model& model, const tenon::Safetensors& file, const tenon::CheckpointNames& names,
                       const std::string& what, double bound, ValuesOf values_of) {
    std::size_t found = 0;
    tenon::for_each_parameter(model, [&](std::string_view name, tenon::ParameterBase& parameter) {
        const std::string key = tenon::checkpoint_name(names, name);
        const std::vector<float> expected = elements<float>(file, key);
        if (static_cast<std::int64_t>(expected.size()) != parameter.size())
            throw tenon::FileError(file.where() + ": " + key + ": unexpected shape");
        report.expect(what + " " + key, relative_error(values_of(parameter), expected.data(), parameter.size()), bound);
        ++found;
    });
    if (found != file.size()) throw tenon::FileError(file.where() + ": not every tensor belongs to the model");
}

inline const float* gradient_of(const tenon::ParameterBase& parameter) {
    if (!parameter.gradient->written) throw tenon::Error("a parameter received no gradient");
    return static_cast<const float*>(parameter.gradient->storage.data());
}

inline std::int64_t greatest(const float* row, int count) {
    int best = 0;
    for (int i = 1; i < count; ++i)
        if (row[i] > row[best]) best = i;
    return best;
}

/// Greedy decoding after a prompt; with the cache only new tokens run, without it all run each time.
template <class Model>
std::vector<std::int64_t> generate(const Model& model, const std::vector<std::int64_t>& prompt, int length, bool with_cache) {
    std::vector<std::int64_t> tokens = prompt;
    tenon::KeyValueCache<Model> cache(model);
    while (static_cast<int>(tokens.size()) < length) {
        const int all = static_cast<int>(tokens.size());
        const tenon::Tensor logits = with_cache ? model(columns(tokens, all, cache.length(), all), cache).tensor()
                                                : model(columns(tokens, all, 0, all)).tensor();
        const int vocabulary = logits.extent(2);
        tokens.push_back(greatest(logits.data() + logits.size() - vocabulary, vocabulary));
    }
    return tokens;
}

/// Logits, loss, gradients and greedy generation of a checkpoint.
template <class Model>
void check_checkpoint(Report& report, const std::string& folder, const tenon::Architecture& architecture) {
    const tenon::Safetensors expected = tenon::Safetensors::open(folder + "/reference.safetensors");
    tenon::Trainable<Model> trainable(architecture.sizes);
    tenon::load_parameters(trainable, tenon::open_checkpoint(folder), architecture.names);
    const Model model(trainable);

    const std::vector<std::int64_t> ids = elements<std::int64_t>(expected, "input_ids");
    const int time = static_cast<int>(expected.at("input_ids").shape[1]);
    const std::vector<float> expected_logits = elements<float>(expected, "logits");
    const tenon::Tensor logits = model(columns(ids, time, 0, time)).tensor();
    report.expect("logits", relative_error(logits.data(), expected_logits.data(), logits.size()), 1e-4);

    const Ids inputs = columns(ids, time, 0, time - 1), targets = columns(ids, time, 1, time);
    const auto loss = tenon::cross_entropy(trainable(inputs), targets);
    const double expected_loss = elements<float>(expected, "loss")[0];
    report.expect("loss", std::abs(loss.item() - expected_loss) / expected_loss, 1e-4);

    if (tenon::path_exists(folder + "/grads.safetensors")) {
        tenon::backward(loss);
        expect_parameters(report, trainable, tenon::Safetensors::open(folder + "/grads.safetensors"), architecture.names,
                          "gradient", 1e-3, gradient_of);
    }

    const std::vector<std::int64_t> prompt = elements<std::int64_t>(expected, "prompt");
    const std::vector<std::int64_t> generated = elements<std::int64_t>(expected, "generated");
    for (bool with_cache : {false, true}) {
        const auto tokens = generate(model, prompt, static_cast<int>(generated.size()), with_cache);
        int different = 0;
        for (std::size_t i = 0; i < generated.size(); ++i) different += tokens[i] != generated[i];
        report.expect(with_cache ? "tokens that differ, with cache" : "tokens that differ, without cache", different, 0);
    }
}

/// The losses, gradient norms, learning rates and final parameters of a whole training run.
template <class Model>
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

    const std::vector<std::int64_t> inputs = elements<std::int64_t>(expected, "inputs");
    const std::vector<std::int64_t> targets = elements<std::int64_t>(expected, "targets");
    const std::vector<float> losses = elements<float>(expected, "losses"), norms = elements<float>(expected, "grad_norms"),
                             rates = elements<float>(expected, "lrs");
    const std::vector<float> expected_logits = elements<float>(expected, "logits_step0");
    const auto& shape = expected.at("inputs").shape;
    const int steps = static_cast<int>(shape[0]), batch = static_cast<int>(shape[1]), time = static_cast<int>(shape[2]);
    double loss_error = 0, norm_error = 0, rate_error = 0;
    for (int step = 0; step < steps; ++step) {
        auto batch_of = [&](const std::vector<std::int64_t>& all) {
            return Ids::from(std::span(all).subspan(static_cast<std::size_t>(step) * batch * time, static_cast<std::size_t>(batch) * time), batch, time);
        };
        const Ids x = batch_of(inputs), y = batch_of(targets);
        if (step == 0) {
            const tenon::Tensor logits = Model(model)(x).tensor();
            report.expect("logits of step 0", relative_error(logits.data(), expected_logits.data(), logits.size()), 1e-4);
        }
        const auto loss = tenon::cross_entropy(model(x), y);
        tenon::backward(loss);
        if (step == 0)
            expect_parameters(report, model, tenon::Safetensors::open(folder + "/grads_step0.safetensors"), architecture.names,
                              "gradient of step 0", 1e-3, gradient_of);
        const double norm = optimizer.clip(table.require_real("grad_clip"));
        optimizer.rate = schedule(step);
        optimizer.step();
        const auto i = static_cast<std::size_t>(step);
        loss_error = std::max(loss_error, std::abs(double(loss.item()) - losses[i]) / losses[i]);
        norm_error = std::max(norm_error, std::abs(norm - norms[i]) / norms[i]);
        rate_error = std::max(rate_error, std::abs(optimizer.rate - rates[i]) / std::max(1e-12, double(rates[i])));
    }
    report.expect("losses of all steps", loss_error, 1e-4);
    report.expect("gradient norms of all steps", norm_error, 1e-4);
    report.expect("learning rates of all steps", rate_error, 1e-6);
    expect_parameters(report, model, tenon::Safetensors::open(folder + "/final.safetensors"), architecture.names, "final", 1e-3,
                      [](const tenon::ParameterBase& parameter) { return static_cast<const float*>(parameter.data); });
}

/// Checks whatever a folder holds. The result is a program's.
template <class C>
int check(const std::string& folder, const tenon::Architecture& architecture, const tenon::ConfigurationTable& table) try {
    using Model = tenon::Transformer<C>;
    Report report;
    if (tenon::path_exists(folder + "/trajectory.safetensors"))
        check_trajectory<Model>(report, folder, architecture, table);
    else
        check_checkpoint<Model>(report, folder, architecture);
    return report.result();
} catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
}

}  // namespace reference
