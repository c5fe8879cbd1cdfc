// A GGUF file of any bytes: the tensors of what is accepted lie within it, each apart, and can be read; its
// metadata are a configuration, of which an architecture may be found.
#include <algorithm>
#include <string_view>
#include <vector>

#include <tenon/io/gguf.hpp>
#include <tenon/io/read_configuration.hpp>
#include <tenon/io/read_elements.hpp>
#include <tenon/model/architectures.hpp>

#include "target.hpp"

const fuzz::Target target("gguf", [](const std::uint8_t* data, std::size_t size) {
    fuzz::expect_value_or_error([&] {
        const auto bytes = std::as_bytes(std::span(data, size));
        const tenon::Gguf file = tenon::Gguf::parse(bytes, "input");
        const std::byte* end = bytes.data();
        for (const tenon::GgufEntry& entry : file) {
            fuzz::require(file.find(entry.name) == &entry, "an entry is found by its name");
            fuzz::require(entry.bytes.data() >= end, "entries lie in the file, apart");
            end = entry.bytes.data() + entry.bytes.size();
            fuzz::require(end <= bytes.data() + bytes.size(), "entries lie in the file");
            const std::size_t blocks = entry.bytes.size() / tenon::bytes_of_block(entry.type);
            std::size_t elements = blocks * tenon::elements_of_block(entry.type);
            fuzz::require(elements == 0 || elements % static_cast<std::size_t>(entry.shape.back()) == 0,
                          "an entry has whole rows");
            elements = std::min<std::size_t>(elements, 4096);
            std::vector<float> values(elements);
            tenon::detail::read_elements(entry, 0, static_cast<std::int64_t>(elements), values.data(), 1);
        }
        for (const tenon::GgufValue& value : file.metadata().values()) {
            fuzz::require(file.metadata().find(value.key) == &value, "a value is found by its key");
            const std::size_t count = value.integers().size() + value.reals().size() + value.texts().size();
            fuzz::require(count == value.count, "a value has its elements");
        }
        const tenon::OwnedConfiguration configuration(file);
        (void)tenon::find_architecture(configuration.table());
    });
});
