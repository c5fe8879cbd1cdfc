// A checkpoint's config.json of any text: it names no architecture, or one whose sizes can be used.
#include <string>

#include <tenon/io/read_configuration.hpp>
#include <tenon/model/architectures.hpp>

#include "target.hpp"

const fuzz::Target target("configuration", [](const std::uint8_t* data, std::size_t size) {
    fuzz::expect_value_or_error([&] {
        const tenon::OwnedConfiguration configuration(
            tenon::parse_json(fuzz::text_of(data, size), "config.json"), "config.json");
        const tenon::Architecture architecture = tenon::find_architecture(configuration.table());
        if (!architecture) return;
        const tenon::TransformerSizes sizes = tenon::resolved(architecture.sizes);
        fuzz::require(sizes.heads % sizes.key_value_heads == 0, "heads share those of keys and values");
        fuzz::require(tenon::parameter_count(sizes) > 0, "a model has parameters");
    });
});
