// Safetensors of any bytes: what is accepted lies within them, whole and without overlaps.
#include <tenon/io/safetensors.hpp>
#include <tenon/io/safetensors_element_type.hpp>

#include "target.hpp"

const fuzz::Target target("safetensors", [](const std::uint8_t* data, std::size_t size) {
    fuzz::expect_value_or_error([&] {
        const auto bytes = std::as_bytes(std::span(data, size));
        const tenon::Safetensors file = tenon::Safetensors::parse(bytes, "input");
        const std::byte* end = nullptr;
        for (const tenon::SafetensorsEntry& entry : file) {
            fuzz::require(file.find(entry.name) == &entry, "an entry is found by its name");
            fuzz::require(entry.bytes.data() >= bytes.data() &&
                              entry.bytes.data() + entry.bytes.size() <= bytes.data() + bytes.size(),
                          "an entry lies within the file");
            fuzz::require(!end || entry.bytes.data() == end, "entries follow each other");
            end = entry.bytes.data() + entry.bytes.size();
            std::size_t elements = 1;
            for (const std::int64_t extent : entry.shape) elements *= static_cast<std::size_t>(extent);
            fuzz::require(elements == 0 || entry.bytes.size() % elements == 0,
                          "an entry has room for its elements");
        }
        fuzz::require(!end || end == bytes.data() + bytes.size(), "the last entry ends with the file");
    });
});
