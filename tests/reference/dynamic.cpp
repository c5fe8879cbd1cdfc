// A reference check with every extent dynamic: one program for all folders, and, of a CPU, for all GGUF
// files.

#include <concepts>

#include "check.hpp"
#include "check_encoder.hpp"
#include "check_gguf.hpp"

int main(int count, char** values) {
    return reference::main_of_folder(count, values, [](const std::string& folder) {
        if constexpr (std::same_as<reference::Device, tenon::Cpu>) {
            if (folder.ends_with(".gguf")) return reference::gguf::check<reference::Device>(folder);
        }
        const tenon::OwnedConfiguration configuration = tenon::read_configuration(folder + "/config.json");
        const tenon::Architecture architecture = tenon::find_architecture(configuration.table());
        if (!architecture) {
            std::printf("%s: an architecture that is not supported yet\n", folder.c_str());
            return reference::skipped;
        }
        if (architecture.is_encoder)
            return tenon::visit_encoder(architecture, [&]<class A>(A) {
                using C = tenon::DynamicTransformer<typename A::Features>;
                return reference::check_encoder<C>(folder, architecture);
            });
        using Batches = tenon::Shape<tenon::dyn, tenon::dyn>;
        return tenon::visit_architecture(architecture, [&]<class A>(A) {
            using C = tenon::DynamicTransformer<typename A::Features>;
            return reference::check<C, Batches>(folder, architecture, configuration.table());
        });
    });
}
