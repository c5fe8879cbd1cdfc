// Says what it holds, or why a checkpoint that it is given is another.

#include <cstdint>
#include <cstdio>
#include <small.hpp>

#include <tenon/nn/visitor.hpp>

static_assert(small::Configuration::vocabulary == 61 && small::Configuration::heads == 4);

int main(int count, char** values) try {
    if (count > 1) {
        small::load(values[1]);
        return 0;
    }
    small::Model model = small::load();
    const auto* file = tenon::EmbeddedFiles::find(small::path() + "/model.safetensors");
    int in_place = 0, all = 0;
    tenon::for_each_parameter(model, [&](std::string_view, tenon::ParameterBase& parameter) {
        const auto* data = static_cast<const std::byte*>(parameter.data);
        const auto* begin = file->bytes.data();
        in_place += data >= begin && data < begin + file->bytes.size() &&
                    reinterpret_cast<std::uintptr_t>(data) % 64 == 0;
        ++all;
    });
    std::printf("%d of %d parameters in place, context %d\n", in_place, all, small::Configuration::context);
} catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
}
