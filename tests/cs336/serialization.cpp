// The checkpoints of CS336's first assignment: model, optimizer and iteration.

#include <cstring>
#include <vector>

#include <doctest/doctest.h>

#include "../io/temporary_folder.hpp"
#include "../support.hpp"
#include "adapters.hpp"

using namespace cs336;

// A namespace with a name: nvcc would take a member for unused that only a requirement reads.
namespace serialization {

using Tracking = Setting<Device, F32, Tracked>;

/// Three linear layers: any class that lists its parameters can be saved.
class Network {
public:
    using Value = float;
    using Gradient = float;
    using Device = support::Device;
    static constexpr bool is_tracked = true;

    explicit Network(std::uint64_t number) { initialize(*this, seed(number)); }

    template <class X>
    auto operator()(const X& x) const {
        return third(relu(second(relu(first(x)))));
    }
    void visit_parameters(ParameterVisitor& visit) {
        visit.part("first", first);
        visit.part("second", second);
        visit.part("third", third);
    }

    Linear<Tracking, 200, 100> first;
    Linear<Tracking, 100, 200> second;
    Linear<Tracking, 1, 100> third;
};

auto optimizer_of(Network& network, double rate) { return get_adamw(network, {.rate = rate, .decay = 0.01}); }

template <class Optimizer>
void train(Network& network, Optimizer& optimizer, std::uint32_t first_batch, std::uint32_t last_batch) {
    for (std::uint32_t i = first_batch; i < last_batch; ++i) {
        backward(mean(square(network(support::numbers<float, Shape<8, 100>>(i)) - 1.0)));
        optimizer.step();
    }
}

/// All bytes of what a checkpoint holds.
template <class Optimizer>
std::vector<char> bytes_of(Network& network, Optimizer& optimizer) {
    std::vector<char> bytes;
    const TrainingState state = state_of(network, optimizer);
    for (const TrainingState::Item& item : state.items()) {
        const auto own = support::bytes_of(item.bytes.size(), item.bytes.data());
        bytes.insert(bytes.end(), own.begin(), own.end());
    }
    return bytes;
}

}  // namespace serialization

using namespace serialization;

TEST_CASE(
    "run_load_checkpoint restores what run_save_checkpoint saved, to the last bit, and training goes on "
    "alike") {
    const TemporaryFolder folder;
    Network network(1);
    auto optimizer = optimizer_of(network, 1e-3);
    train(network, optimizer, 0, 10);
    run_save_checkpoint(network, optimizer, 10, folder.path());

    Network loaded(2);
    auto loaded_optimizer = optimizer_of(loaded, 1e-3);  // the rate is the caller's, as a schedule's
    CHECK(bytes_of(loaded, loaded_optimizer) != bytes_of(network, optimizer));
    CHECK(run_load_checkpoint(folder.path(), loaded, loaded_optimizer) == 10);
    CHECK(bytes_of(loaded, loaded_optimizer) == bytes_of(network, optimizer));

    train(network, optimizer, 10, 15);
    train(loaded, loaded_optimizer, 10, 15);
    CHECK(bytes_of(loaded, loaded_optimizer) == bytes_of(network, optimizer));
}
