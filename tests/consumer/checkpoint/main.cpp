// Says what it holds, or why a checkpoint that it is given is another.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <encoder.hpp>
#include <exception>
#include <packed.hpp>
#include <small.hpp>
#include <span>
#include <string>
#include <string_view>

#include <tenon/io/generation_settings.hpp>
#include <tenon/nn/visitor.hpp>
#include <tenon/tokenizer/chat_template.hpp>

static_assert(small::Configuration::vocabulary == 61 && small::Configuration::heads == 4);
static_assert(packed::Configuration::depth == 2);

/// How many parameters lie in a file of the program.
template <class Model>
void tell(const char* name, Model model, const std::string& path) {
    const std::span<const std::byte> file = tenon::EmbeddedFiles::find(path)->bytes;
    int in_place = 0, all = 0;
    tenon::for_each_parameter(model, [&](std::string_view, tenon::ParameterBase& parameter) {
        const auto* data = static_cast<const std::byte*>(parameter.data);
        in_place += data >= file.data() && data < file.data() + file.size();
        ++all;
    });
    std::printf("%s: %d of %d parameters in place\n", name, in_place, all);
}

int main(int count, char** values) try {
    if (count > 1) {
        small::load(values[1]);
        return 0;
    }
    tell("small", small::load(), small::path() + "/model.safetensors");
    tell("packed", packed::load(), packed::path());
    tell("encoder", encoder::load(), encoder::path() + "/model.safetensors");
    const tenon::ChatMessage message{"user", "hello"};
    const tenon::GenerationSettings settings = tenon::read_generation_settings(small::path());
    std::printf("%s, at temperature %g, until one of %d tokens\n",
                tenon::ChatTemplate::load(small::path()).apply(std::span(&message, 1)).c_str(),
                settings.sampling.temperature, static_cast<int>(settings.ends.size()));
    const small::Model model = small::load();  // whose file begins with the embedding
    const bool is_aligned = reinterpret_cast<std::uintptr_t>(model.embedding.data) % 64 == 0;
    // What is trained has memory of its own.
    tenon::Trainable<small::Model> trained(small::Checkpoint::sizes);
    tenon::load_checkpoint(trained, small::path());
    return is_aligned && trained.embedding.value()(60, 31) == model.embedding.value()(60, 31) ? 0 : 1;
} catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
}
