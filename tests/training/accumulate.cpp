#include "tenon/training/accumulate.hpp"

#include <vector>

#include <doctest/doctest.h>

#include "../nn/model.hpp"

using namespace tenon;
using support::Device;

namespace {

using Model = Trainable<Transformer<support::Small, Device, F64>>;

std::vector<double> gradients_of(Model& model) {
    std::vector<double> values;
    for_each_parameter(model, [&](std::string_view, ParameterBase& parameter) {
        const auto at = values.size(), count = static_cast<std::size_t>(parameter.size());
        values.resize(at + count);
        Memory<Device>::copy(static_cast<const double*>(parameter.gradient->storage.data()), parameter.size(),
                             values.data() + at);
    });
    return values;
}

}  // namespace

TEST_CASE("a batch in parts has the loss and the gradients of the whole") {
    Model whole(seed(1)), parted(seed(1));
    const auto ids = support::tokens(6, 5, 2), targets = support::tokens(6, 5, 7);
    const auto loss = cross_entropy(whole(ids), targets);
    backward(loss);
    for (const int parts : {1, 2, 3, 6}) {
        support::clear_gradients(parted);
        const int rows = 6 / parts;
        const auto rows_of = [&](const support::Tokens& all, int part) {
            return support::Tokens(slice<0>(all, rows * part, rows * (part + 1)));
        };
        const double mean = accumulate_gradients(parts, [&](int part) {
            return cross_entropy(parted(rows_of(ids, part)), rows_of(targets, part));
        });
        CHECK(mean == doctest::Approx(loss.item()).epsilon(1e-13));
        const std::vector<double> expected = gradients_of(whole), got = gradients_of(parted);
        double worst = 0;
        for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - expected[i]));
        CHECK(worst < 1e-14);
    }
    CHECK_THROWS_WITH_AS(accumulate_gradients(0, [&](int) { return cross_entropy(parted(ids), targets); }),
                         "gradients: expected at least one part, got 0", Error);
}
