// A reference check with every extent dynamic: one program for all folders.

#include "check.hpp"

int main(int count, char** values) try {
    if (count != 2) {
        std::printf("usage: %s FOLDER\n", values[0]);
        return 2;
    }
    if (!tenon::support::has_device()) {
        std::printf("skipped: there is no GPU that CUDA can use\n");
        return reference::skipped;
    }
    const std::string folder = values[1];
    const tenon::OwnedConfiguration configuration = tenon::read_configuration(folder + "/config.json");
    const tenon::Architecture architecture = tenon::find_architecture(configuration.table());
    if (!architecture) {
        std::printf("%s: an architecture that is not supported yet\n", folder.c_str());
        return reference::skipped;
    }
    using Batches = tenon::Shape<tenon::dyn, tenon::dyn>;
    return tenon::visit_architecture(architecture, [&]<class A>(A) {
        using C = tenon::DynamicTransformer<typename A::Features>;
        return reference::check<C, Batches>(folder, architecture, configuration.table());
    });
} catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
}
