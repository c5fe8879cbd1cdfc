#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/model/gpt2.hpp>

#include "../support.hpp"

using namespace tenon;
using support::Device;

namespace {

struct Gpt2Tiny : Gpt2::Features {
    static constexpr int vocabulary = 160, context = 80, width = 96, depth = 3, heads = 4, hidden = 384;
};

struct Spread {
    double mean = 0, deviation = 0, greatest = 0;
};

/// Of each parameter's elements, in a model that was initialized from a seed.
template <class Model>
std::map<std::string, Spread> spreads(Model& model) {
    std::map<std::string, Spread> result;
    for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
        const auto values = support::elements<typename Model::Value>(parameter);
        Spread& spread = result[std::string(name)];
        const auto count = static_cast<double>(parameter.size());
        for (const auto value : values) spread.mean += value / count;
        for (const auto value : values) {
            const double distance = value - spread.mean;
            spread.deviation += distance * distance / count;
            spread.greatest = std::max(spread.greatest, std::abs(distance));
        }
        spread.deviation = std::sqrt(spread.deviation);
    });
    return result;
}

/// A normal of this deviation, as far as some thousand elements show it.
bool is_normal(const Spread& spread, double deviation) {
    return std::abs(spread.deviation / deviation - 1) < 0.03 && std::abs(spread.mean) < 0.05 * deviation;
}

/// Widths of a family of models; its head and its base are fixed.
template <int Width, int Base, Initializer kind>
struct Family : TransformerDefaults {
    static constexpr int vocabulary = 128, context = 8, width = Width, depth = 2, heads = 4,
                         hidden = 2 * Width, base_width = Base;
    static constexpr Initializer initializer = kind;
};

template <class C>
auto spreads_of() {
    Transformer<C, Device> model(seed(1));
    return spreads(model);
}

}  // namespace

TEST_CASE("GPT-2 starts normal with 0.02, 0.01 for positions, and less where branches add to the residual") {
    Transformer<Gpt2Tiny, Device> model(seed(1));
    const auto found = spreads(model);
    CHECK(is_normal(found.at("embedding.weight"), 0.02));
    CHECK(is_normal(found.at("positions.weight"), 0.01));
    CHECK(is_normal(found.at("blocks.0.attention.query.weight"), 0.02));
    CHECK(is_normal(found.at("blocks.2.attention.output.weight"), 0.02 / std::sqrt(6.0)));
    CHECK(is_normal(found.at("blocks.1.feed_forward.up.weight"), 0.02));
    CHECK(is_normal(found.at("blocks.1.feed_forward.down.weight"), 0.02 / std::sqrt(6.0)));
    CHECK(found.at("embedding.weight").greatest > 3.3 * 0.02);  // not truncated
    for (const auto& [name, spread] : found) {
        CAPTURE(name);
        if (name.ends_with(".bias")) CHECK((spread.mean == 0 && spread.greatest == 0));
        if (name.ends_with(".gain")) CHECK((spread.mean == doctest::Approx(1) && spread.greatest < 1e-9));
    }
}

TEST_CASE("CS336's start is truncated normal, by the sides of a matrix") {
    using C = Family<64, 0, Initializer::cs336>;
    const auto found = spreads_of<C>();
    CHECK(is_normal(found.at("embedding.weight"), 0.9866));  // what truncation leaves of 1
    CHECK(found.at("embedding.weight").greatest < 3.1);
    CHECK(is_normal(found.at("blocks.0.feed_forward.up.weight"), 0.9866 * std::sqrt(2.0 / 192)));
    CHECK(is_normal(found.at("head.weight"), 0.9866 * std::sqrt(2.0 / 192)));
}

TEST_CASE("muP: matrices' variances fall with the width, those of embedding and head don't") {
    const auto check = [](auto base, auto wide) {
        for (const char* name : {"embedding.weight", "head.weight"}) {
            CAPTURE(std::string(name));
            CHECK(is_normal(wide.at(name), base.at(name).deviation));
        }
        for (const char* name : {"attention.query.weight", "attention.output.weight",
                                 "feed_forward.up.weight", "feed_forward.down.weight"}) {
            const std::string full = "blocks.1." + std::string(name);
            CAPTURE(full);
            CHECK(is_normal(wide.at(full), base.at(full).deviation / 2));  // four times the width
        }
    };
    check(spreads_of<Family<64, 0, Initializer::cs336>>(), spreads_of<Family<256, 64, Initializer::cs336>>());
    check(spreads_of<Family<64, 0, Initializer::gpt2>>(), spreads_of<Family<256, 64, Initializer::gpt2>>());
}

TEST_CASE("muP: at its base width a model starts as without, and matrices' rates fall with the width") {
    using Standard = Transformer<Family<32, 0, Initializer::gpt2>, Device>;
    using Base = Transformer<Family<32, 32, Initializer::gpt2>, Device>;
    using Wide = Transformer<Family<128, 32, Initializer::gpt2>, Device>;
    Standard standard(seed(1));
    Base base(seed(1));
    Wide wide(seed(1));
    std::vector<std::vector<float>> values[2];
    const auto keep = [](auto& to) {
        return [&](std::string_view, ParameterBase& parameter) {
            CHECK(parameter.rate_scale == 1);
            to.push_back(support::elements<float>(parameter));
        };
    };
    for_each_parameter(standard, keep(values[0]));
    for_each_parameter(base, keep(values[1]));
    CHECK(values[0] == values[1]);
    for_each_parameter(wide, [](std::string_view name, ParameterBase& parameter) {
        CAPTURE(std::string(name));
        CHECK(parameter.rate_scale == (parameter.role == Role::matrix ? 0.25 : 1));
    });
}
