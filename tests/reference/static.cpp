// A reference check with the shapes of one folder as types: its configuration is compiled in.

#include "check.hpp"
#include "configuration.hpp"

namespace {

constexpr tenon::ConfigurationTable table(fixture::configuration_entries, fixture::configuration_source);
constexpr tenon::Architecture architecture = tenon::find_architecture(table);
constexpr tenon::TransformerSizes sizes = architecture.sizes;

template <bool is_known>
int run(const std::string& folder) {
    if constexpr (is_known) {
        return reference::check<tenon::StaticTransformer<sizes>>(folder, architecture, table);
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
