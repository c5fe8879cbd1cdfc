// A reference check with the shapes of folders as types: their configurations are compiled in.

#include <fixtures.hpp>

#include "check.hpp"
#include "check_encoder.hpp"

namespace {

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

template <class Checkpoint, const tenon::ConfigurationTable& table>
int run(const std::string& folder) {
    if constexpr (!Checkpoint::is_supported) {
        std::printf("%s: an architecture that is not supported yet\n", folder.c_str());
        return reference::skipped;
    } else if constexpr (Checkpoint::architecture.is_encoder) {
        return reference::check_encoder<typename Checkpoint::Configuration>(folder, Checkpoint::architecture);
    } else {
        using Batches =
            typename BatchesOf<table.integer("batch_size", 0), table.integer("context_length", 0)>::type;
        return reference::check<typename Checkpoint::Configuration, Batches>(folder, Checkpoint::architecture,
                                                                             table);
    }
}

}  // namespace

int main(int count, char** values) {
    return reference::main_of_folder(count, values, [](const std::string& folder) {
        return visit_fixture(folder, [&]<class Checkpoint, const tenon::ConfigurationTable & table>() {
            return run<Checkpoint, table>(folder);
        });
    });
}
