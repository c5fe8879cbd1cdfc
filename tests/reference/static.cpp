// A reference check with the shapes of one folder as types: its configuration is compiled in.

#include <fixture.hpp>

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
using Batches =
    BatchesOf<fixture::table.integer("batch_size", 0), fixture::table.integer("context_length", 0)>::type;

template <class Checkpoint>
int run(const std::string& folder) {
    if constexpr (!Checkpoint::is_supported) {
        std::printf("%s: an architecture that is not supported yet\n", folder.c_str());
        return reference::skipped;
    } else if constexpr (Checkpoint::architecture.is_encoder) {
        return reference::check_encoder<typename Checkpoint::Configuration>(folder, Checkpoint::architecture);
    } else {
        return reference::check<typename Checkpoint::Configuration, Batches>(folder, Checkpoint::architecture,
                                                                             fixture::table);
    }
}

}  // namespace

int main(int count, char** values) {
    return reference::main_of_folder(count, values, run<fixture::Checkpoint>);
}
