// Checkpoints of runs whose optimizer keeps more than moments: master copies, a scale of the loss, averages.

#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/training/checkpoints.hpp>

#include "../io/temporary_folder.hpp"
#include "../nn/model.hpp"

using namespace tenon;
using support::Device;

namespace {

template <class P>
struct Run {
    explicit Run(std::uint64_t number) : model(seed(number)), optimizer(model), averages(model) {
        state.add_parameters("model", model);
        state.add_part("optimizer", optimizer);
        state.add_part("averages", averages);
    }

    void train(int first, int last) {
        for (int step = first; step < last; ++step) {
            const auto ids = support::tokens(2, 8, step), targets = support::tokens(2, 8, step + 3);
            optimizer.backward(cross_entropy(model(ids), targets));
            optimizer.clip(1);
            optimizer.step();
            averages.update();
        }
    }

    /// All bits of the state.
    std::string bits() const {
        std::string bits;
        for (const TrainingState::Item& item : state.items())
            for (const char byte : support::bytes_of(item.bytes.size(), item.bytes.data())) bits += byte;
        return bits;
    }

    using Model = Trainable<Transformer<support::Small, Device, P>>;
    Model model;
    AdamW<typename P::storage, float, Device, typename P::master> optimizer;
    Ema<typename P::storage, Device> averages;
    TrainingState state;
};

template <class P>
void check() {
    const TemporaryFolder folder;
    Run<P> undisturbed(1), interrupted(1), resumed(2);
    undisturbed.train(0, 5);
    interrupted.train(0, 3);
    save_training(folder.path(), 3, interrupted.state);
    REQUIRE(load_training(folder.path(), resumed.state)->step == 3);
    CHECK(resumed.bits() == interrupted.bits());
    resumed.train(3, 5);
    CHECK(resumed.bits() == undisturbed.bits());
}

}  // namespace

TEST_CASE("a run in mixed precision goes on from its checkpoint with the same bits") {
    check<MixedBf16>();
    check<PureBf16>();
    check<MixedF16>();
}

TEST_CASE("what a run keeps beside the weights is in its checkpoint, under their names") {
    const Run<MixedF16> run(1);
    std::vector<std::string> names;
    for (const TrainingState::Item& item : run.state.items())
        if (item.name.find("blocks") == std::string::npos && item.name.find("embedding") == std::string::npos)
            names.push_back(item.name + " " + std::string(name_of(item.type)));
    CHECK(names == std::vector<std::string>{
                       "model.norm.gain f32", "model.head.weight f16", "optimizer.steps i64",
                       "optimizer.loss_scale f32", "optimizer.loss_scale_age i64",
                       "optimizer.norm.gain.steps i64", "optimizer.norm.gain.first_moment f32",
                       "optimizer.norm.gain.second_moment f32", "optimizer.head.weight.steps i64",
                       "optimizer.head.weight.master f32", "optimizer.head.weight.first_moment f32",
                       "optimizer.head.weight.second_moment f32", "averages.updates i64",
                       "averages.norm.gain.average f32", "averages.head.weight.average f32"});
}
