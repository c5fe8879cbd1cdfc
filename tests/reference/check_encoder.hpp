#pragma once

#include <tenon/io/load_encoder.hpp>
#include <tenon/model/encoder.hpp>

#include "check.hpp"

/// An encoder against what PyTorch and transformers computed, from the files of one folder.
namespace reference {

/// A mask of 0 and 1.
inline tenon::Tensor<bool, Shape<dyn, dyn>, Device> mask_of(const std::vector<std::int64_t>& values,
                                                            int width) {
    auto mask =
        tenon::Tensor<bool, Shape<dyn, dyn>>::uninitialized(static_cast<int>(values.size()) / width, width);
    for (std::size_t i = 0; i < values.size(); ++i) mask.data()[i] = values[i] != 0;
    return tenon::to_device<Device>(mask);
}

/// The error of a tensor on any device.
template <class X>
double error_of(const X& x, const tenon::Safetensors& file, std::string_view key, const Lengths& shape) {
    const tenon::Tensor here = on_host(detach(x));
    return relative_error(here.data(), read<float>(file, key, shape));
}

/// The gradients of all parameters. That of the keys' biases is 0 but for rounding: a query's scores all grow
/// by the same.
template <class Model>
void expect_gradients(Report& report, Model& model, const tenon::Safetensors& file,
                      const tenon::CheckpointNames& given) {
    const auto places = tenon::checkpoint_places(model, tenon::detail::names_in(file, given));
    for (const tenon::CheckpointPlace& place : places) {
        const std::vector<float> values = gradient_of(*place.parameter),
                                 expected = read<float>(file, place.tensor, place.shape());
        if (place.tensor.ends_with("key.bias")) {
            Worst worst;
            for (const float value : values) worst.keep(std::abs(value));
            report.expect("gradient " + place.tensor + ", absolute", worst.get(), 1e-6);
        } else {
            report.expect("gradient " + place.tensor, relative_error(values.data(), expected), tolerance);
        }
    }
    if (places.size() != file.size())
        throw tenon::FileError(file.where() + ": expected " + std::to_string(places.size()) +
                               " tensors for this model, got " + std::to_string(file.size()));
}

/// Hidden states, and as far as the folder has them the pooler's output, logits of masked tokens, their loss
/// (labels of -100 are none) and gradients, of an encoder of configuration C; and saving. The result is a
/// program's.
template <class C>
int check_encoder(const std::string& folder, const tenon::Architecture& architecture) {
    using Model = tenon::Encoder<C, Device>;
    Report report;
    const tenon::Safetensors expected = tenon::Safetensors::open(folder + "/reference.safetensors");
    const tenon::Checkpoint checkpoint = tenon::open_checkpoint(folder);
    auto trainable =
        tenon::load_encoder<tenon::Trainable<Model>>(architecture.sizes, checkpoint, architecture.names);
    check_saving(report, trainable, checkpoint, architecture.names);

    const Lengths shape = table_shape(expected, "input_ids");
    const int time = static_cast<int>(shape[1]), width = architecture.sizes.width;
    const auto table = [&](std::string_view key, std::int64_t otherwise) {
        return expected.find(key)
                   ? read<std::int64_t>(expected, key, shape)
                   : std::vector<std::int64_t>(static_cast<std::size_t>(shape[0] * shape[1]), otherwise);
    };
    const Ids ids = columns(table("input_ids", 0), time, 0, time),
              types = columns(table("token_type_ids", 0), time, 0, time);
    const auto mask = mask_of(table("attention_mask", 1), time);

    const Model model(trainable);
    const auto states = model(ids, mask, types);
    report.expect("hidden states",
                  error_of(states, expected, "last_hidden_state", {shape[0], shape[1], width}), tolerance);
    if (!expected.find("token_type_ids"))
        report.expect("hidden states, differing without types", !(model(ids, mask) == states), 0);
    if (!expected.find("attention_mask"))
        report.expect("hidden states, differing without a mask", !(model(ids) == states), 0);
    if (expected.find("pooler_output"))
        report.expect("pooler's output",
                      error_of(model.pooled(states), expected, "pooler_output", {shape[0], width}),
                      tolerance);
    if (expected.find("logits"))
        report.expect("logits",
                      error_of(model.predictions(states), expected, "logits",
                               {shape[0], shape[1], architecture.sizes.vocabulary}),
                      tolerance);
    if constexpr (!std::same_as<Device, Cpu>) {
        const auto narrow = tenon::load_encoder<tenon::Encoder<C, Device, tenon::MixedBf16>>(
            architecture.sizes, checkpoint, architecture.names);
        report.expect("hidden states in bf16",
                      error_of(tenon::cast<float>(narrow(ids, mask, types)), expected, "last_hidden_state",
                               {shape[0], shape[1], width}),
                      bf16_tolerance);
    }
    if (expected.find("labels")) {
        const auto loss = tenon::cross_entropy(trainable.predictions(trainable(ids, mask, types)),
                                               columns(table("labels", 0), time, 0, time), {.ignore = -100});
        report.expect("loss", relative_error(loss.item(), read<float>(expected, "loss", {1})[0]), tolerance);
        tenon::backward(loss);
        expect_gradients(report, trainable, tenon::Safetensors::open(folder + "/grads.safetensors"),
                         architecture.names);
    }
    return report.result();
}

}  // namespace reference
