// A reference check of a GGUF file: a folder's model.gguf against reference.safetensors.

#include "check.hpp"
#include "check_encoder.hpp"

namespace {

template <class Model>
int check(const std::string& folder, const tenon::Gguf& file, const tenon::Architecture& architecture) {
    const tenon::Safetensors expected = tenon::Safetensors::open(folder + "/reference.safetensors");
    const Model model = tenon::load_model<Model>(architecture.sizes, file, architecture.names);
    const reference::Lengths shape = reference::table_shape(expected, "input_ids");
    const auto ids = reference::read<std::int64_t>(expected, "input_ids", shape);
    const int time = static_cast<int>(shape[1]);
    const tenon::Tensor logits = on_host(model(reference::columns(ids, time, 0, time)).tensor());
    const reference::Lengths logits_shape{shape[0], shape[1], architecture.sizes.vocabulary};
    reference::Report report;
    report.expect(
        "logits",
        reference::relative_error(logits.data(), reference::read<float>(expected, "logits", logits_shape)),
        reference::tolerance);
    if (expected.find("prompt")) reference::check_generation(report, model, expected);
    return report.result();
}

/// The hidden states of an encoder.
template <class Model>
int check_states(const std::string& folder, const tenon::Gguf& file,
                 const tenon::Architecture& architecture) {
    const tenon::Safetensors expected = tenon::Safetensors::open(folder + "/reference.safetensors");
    const Model model = tenon::load_encoder<Model>(architecture.sizes, file, architecture.names);
    const reference::Lengths shape = reference::table_shape(expected, "input_ids");
    const int time = static_cast<int>(shape[1]);
    const auto table = [&](std::string_view key) {
        return reference::read<std::int64_t>(expected, key, shape);
    };
    const auto states = model(reference::columns(table("input_ids"), time, 0, time),
                              reference::mask_of(table("attention_mask"), time));
    reference::Report report;
    report.expect("hidden states",
                  reference::error_of(states, expected, "last_hidden_state",
                                      {shape[0], shape[1], architecture.sizes.width}),
                  reference::tolerance);
    return report.result();
}

}  // namespace

int main(int count, char** values) {
    return reference::main_of_folder(count, values, [](const std::string& folder) {
        const tenon::Gguf file = tenon::Gguf::open(folder + "/model.gguf");
        const tenon::OwnedConfiguration configuration(file);
        const tenon::Architecture architecture = tenon::find_architecture(configuration.table());
        if (!architecture) {
            std::printf("%s: an architecture that is not supported yet\n", file.where().c_str());
            return reference::skipped;
        }
        if (architecture.is_encoder)
            return tenon::visit_encoder(architecture, [&]<class A>(A) {
                using C = tenon::DynamicTransformer<typename A::Features>;
                return check_states<tenon::Encoder<C, reference::Device>>(folder, file, architecture);
            });
        return tenon::visit_architecture(architecture, [&]<class A>(A) {
            using C = tenon::DynamicTransformer<typename A::Features>;
            return check<tenon::Transformer<C, reference::Device>>(folder, file, architecture);
        });
    });
}
