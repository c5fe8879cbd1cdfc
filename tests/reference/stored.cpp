// Models whose weights are of the types that a file has: of a fixture's numbers, in 16 bits and in several
// types at once, they compute to the last bit what models in f32 do that convert them as they are loaded.
// Where a file has matrices transposed, that holds for those that are loaded and for those that stay in the
// file, but between the two only nearly.

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <tenon/io/borrow_model.hpp>

#include "../cached_logits.hpp"
#include "check.hpp"

using namespace tenon;

namespace {

/// Of the ways that a file holds weights each has one: whole, transposed, joined, of experts, of a latent.
template <class A, class... Checked>
constexpr bool is_one_of = (same_features<typename A::Features, typename Checked::Features> || ...);
template <class A>
constexpr bool is_checked = is_one_of<A, Llama, Gpt2, Phi3, Mixtral, DeepseekV2>;

/// A copy of a file of f32 whose matrices are of other types: each of the next in turn.
void write_converted(const Safetensors& file, const std::vector<ElementType>& types,
                     const std::string& path) {
    std::vector<std::vector<std::byte>> kept;
    std::vector<SafetensorsTensor> tensors;
    for (const SafetensorsEntry& entry : file) {
        const ElementType type = entry.shape.size() > 1 ? types[kept.size() % types.size()] : entry.type;
        const std::size_t count = entry.bytes.size() / sizeof(float);
        std::vector<std::byte>& bytes = kept.emplace_back(count * size_of(type));
        for (std::size_t i = 0; i < count; ++i) {
            float number;
            std::memcpy(&number, entry.bytes.data() + i * sizeof(float), sizeof(float));
            const auto write = [&](auto element) {
                std::memcpy(bytes.data() + i * sizeof(element), &element, sizeof(element));
            };
            if (type == ElementType::bf16)
                write(bf16(number));
            else if (type == ElementType::f16)
                write(f16(number));
            else
                write(number);
        }
        tensors.push_back({entry.name, type, entry.shape, bytes});
    }
    write_safetensors(path, tensors, {});
}

template <class Features>
int check(const Architecture& architecture, const std::string& folder) {
    using Wide = Transformer<DynamicTransformer<Features>>;
    using Stored = Transformer<DynamicTransformer<Features>, Cpu, StoredWeights>;
    const TransformerSizes sizes = resolved(architecture.sizes, Features::positions);
    const TemporaryFolder temporary;
    const std::string path = temporary / "model.safetensors";
    reference::Report report;
    const auto check_file = [&](const std::string& what) {
        const Safetensors file = Safetensors::open(path);
        const Wide wide = load_model<Wide>(sizes, file, architecture.names);
        const Wide wide_borrowed = borrow_model<Wide>(sizes, file, architecture.names);
        Stored stored = borrow_model<Stored>(sizes, file, architecture.names);
        const Stored loaded = load_model<Stored>(sizes, file, architecture.names);
        const bool all_are_f32 = stored.embedding.type == ElementType::f32 && what != "mixed";
        for (const int tokens : {1, 5, 16}) {
            const std::vector<float> expected = cached_logits(wide, tokens),
                                     borrowed = cached_logits(stored, tokens);
            const auto differs = [](const std::vector<float>& a, const std::vector<float>& b) {
                return a.size() != b.size() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) != 0;
            };
            const std::string of = what + ", after " + std::to_string(tokens) + " tokens: ";
            report.expect(of + "loaded differs", differs(cached_logits(loaded, tokens), expected), 0);
            if (architecture.names.transposed)
                report.expect(of + "borrowed", reference::relative_error(borrowed.data(), expected), 1e-6);
            else
                report.expect(of + "borrowed differs", differs(borrowed, expected), 0);
            if (all_are_f32)
                report.expect(of + "borrowed in f32 differs",
                              differs(cached_logits(wide_borrowed, tokens), borrowed), 0);
        }
        return stored.embedding.type;
    };
    const Safetensors file = Safetensors::open(folder + "/model.safetensors");
    const std::pair<const char*, ElementType> types[] = {
        {"bf16", ElementType::bf16}, {"f16", ElementType::f16}, {"f32", ElementType::f32}};
    for (const auto& [name, type] : types) {
        write_converted(file, {type}, path);
        report.expect(std::string(name) + ": the embedding is of another type", check_file(name) != type, 0);
    }
    write_converted(file, {ElementType::bf16, ElementType::f32, ElementType::f16}, path);
    check_file("mixed");
    return report.result();
}

}  // namespace

int main(int count, char** values) {
    return reference::main_of_folder(count, values, [](const std::string& folder) {
        const OwnedConfiguration configuration = read_configuration(folder + "/config.json");
        const Architecture architecture = require_architecture(configuration.table());
        return visit_architecture(architecture, [&]<class A>(A) {
            if constexpr (is_checked<A>) return check<typename A::Features>(architecture, folder);
            std::printf("%s: not checked\n", folder.c_str());
            return reference::skipped;
        });
    });
}
