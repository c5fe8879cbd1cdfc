// A reference check with the shapes of one folder as types: its configuration is compiled in.

#include "check.hpp"
#include "check_encoder.hpp"
#include "configuration.hpp"

namespace {

constexpr tenon::ConfigurationTable table(fixture::configuration_entries, fixture::configuration_source);
constexpr tenon::Architecture architecture = tenon::find_architecture(table);
constexpr tenon::TransformerSizes sizes = architecture.sizes;

/// The batches of a training run, whose lengths its configuration has. A checkpoint's has none: the lengths
/// of its ids are in a file that is not compiled in.
template <std::int64_t batch_size, std::int64_t time>
struct BatchesOf {
    using type = tenon::Shape<static_cast<int>(batch_size), static_cast<int>(time)>;
};
template <std::int64_t time>
struct BatchesOf<0, time> {
    using type = tenon::Shape<tenon::dyn, tenon::dyn>;
};
using Batches = BatchesOf<table.integer("batch_size", 0), table.integer("context_length", 0)>::type;

template <bool is_known>
int run(const std::string& folder) {
    if constexpr (is_known && architecture.is_encoder) {
        using Features = typename tenon::EncoderAt<is_known ? architecture.index : 0>::Features;
        return reference::check_encoder<tenon::StaticTransformer<sizes, Features>>(folder, architecture);
    } else if constexpr (is_known) {
        // Dependent, so that nobody looks for what is not known.
        using Features = typename tenon::ArchitectureAt<is_known ? architecture.index : 0>::Features;
        return reference::check<tenon::StaticTransformer<sizes, Features>, Batches>(folder, architecture,
                                                                                    table);
    } else {
        std::printf("%s: an architecture that is not supported yet\n", folder.c_str());
        return reference::skipped;
    }
}

}  // namespace

int main(int count, char** values) {
    if (count != 2) {
        std::printf("usage: %s FOLDER\n", values[0]);
        return 2;
    }
    return run<bool(architecture)>(values[1]);
}
