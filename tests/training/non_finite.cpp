#include "tenon/training/non_finite.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "../nn/model.hpp"

using namespace tenon;
using support::Device;

namespace {

using Model = Trainable<Transformer<support::Small, Device>>;
using Plain = Transformer<support::Small, Device>;
using Ids = Tensor<std::uint16_t, Shape<2, 4>, Device>;
constexpr float infinity = std::numeric_limits<float>::infinity(),
                not_a_number = std::numeric_limits<float>::quiet_NaN(), huge = 3e38f;

Ids ids_of(int part) {
    std::vector<std::uint16_t> ids;
    for (int i = 0; i < 8; ++i) ids.push_back(static_cast<std::uint16_t>((3 * i + part) % 11));
    return Ids::from(ids);
}

/// Changes elements of a parameter.
template <class Change>
void change(Model& model, const std::string& wanted, Change&& change_elements) {
    bool is_found = false;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        if (name != wanted) return;
        is_found = true;
        auto elements = support::elements<float>(parameter);
        change_elements(elements);
        support::assign(parameter, elements);
    });
    REQUIRE(is_found);
}

void set(Model& model, const std::string& name, std::size_t element, float value) {
    change(model, name, [&](std::vector<float>& elements) { elements.at(element) = value; });
}

std::string found_in(Model& model, int parts = 1) {
    const Plain plain(model);
    const auto found = first_non_finite(model, plain, parts, ids_of);
    return found ? found->text() : "";
}

}  // namespace

TEST_CASE("in a sound model nothing is found") {
    Model model(seed(1));
    CHECK(found_in(model).empty());
    backward(cross_entropy(model(ids_of(0)), ids_of(1)));
    CHECK(found_in(model, 3).empty());
}

TEST_CASE("a parameter is named first, with its index") {
    Model model(seed(1));
    constexpr std::size_t width = support::Small::width;
    set(model, "blocks.1.feed_forward.up.weight", 2 * width + 3, -infinity);
    CHECK(found_in(model) == "parameter blocks.1.feed_forward.up.weight at [2, 3] is -inf");
    set(model, "blocks.0.attention_norm.gain", 1, not_a_number);
    CHECK(found_in(model) == "parameter blocks.0.attention_norm.gain at [1] is nan");
}

TEST_CASE("an activation is named by the layer that made it first, for the first part that has it") {
    constexpr std::size_t width = support::Small::width;
    {
        Model model(seed(1));
        set(model, "blocks.0.feed_forward_norm.gain", 0, huge);
        CHECK(found_in(model).find("output of blocks.0 at [0, 0, ") == 0);
    }
    {
        Model model(seed(1));
        change(model, "blocks.1.attention_norm.gain", [](auto& gain) { gain.assign(width, huge); });
        CHECK(found_in(model).find("output of blocks.1 at [0, ") == 0);
    }
    {
        // Token 2 is in part 1 alone, the first of its second passage.
        Model model(seed(1));
        set(model, "norm.gain", 2, 1.3e38f);
        for (std::size_t i = 0; i < width; ++i)
            set(model, "embedding.weight", 2 * width + i, i == 2 ? 100.0f : 0.0f);
        CHECK(found_in(model, 1).empty());
        CHECK(found_in(model, 2) == "output of norm at [1, 0, 2] is inf");
    }
    {
        Model model(seed(1));
        for (std::size_t i = 0; i < width; ++i) set(model, "head.weight", 4 * width + i, huge);
        CHECK(found_in(model).find("logits at [0, 0, 4] is ") == 0);
    }
}

TEST_CASE("of gradients that are wrong, the one that a backward pass reaches first is named") {
    Model model(seed(1));
    backward(cross_entropy(model(ids_of(0)), ids_of(1)));
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        if (name == "embedding.weight" || name == "blocks.0.attention.key.weight")
            Memory<Device>::copy(&not_a_number, 1,
                                 static_cast<float*>(parameter.gradient->storage.data()) + 1);
    });
    CHECK(found_in(model) == "gradient of blocks.0.attention.key.weight at [0, 1] is nan");
}
