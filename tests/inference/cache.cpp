#include <cmath>

#include <doctest/doctest.h>

#include <tenon/nn/latent_attention.hpp>
#include <tenon/nn/mixture_or_dense.hpp>

#include "../nn/model.hpp"

using namespace tenon;
using support::Device;
using support::tokens;

namespace {

using Static = Transformer<support::Small, Device, F64>;
using Dynamic = Transformer<DynamicTransformer<>, Device, F64>;

struct Learned : support::Small {
    static constexpr Positions positions = Positions::learned;
};
struct Alibi : support::Small {
    static constexpr Positions positions = Positions::alibi;
};
/// Whose windows end long before a sequence does.
template <class Configuration>
struct Windowed : Configuration {
    static constexpr int window = 3;
};

/// Sizes of a model each of whose layers attends, and is turned, in another way.
TransformerSizes unlike_layers() {
    TransformerSizes sizes = sizes_of<Windowed<support::Small>>();
    sizes.depth = 3;
    sizes.windowless_layers.insert(1);
    sizes.unturned_layers.insert(2);
    sizes.window_rotary_base = 50;
    sizes.rotary_width = 2;
    return sizes;
}

/// The greatest difference between a cached model's logits, over pieces of the given length, and those of one
/// pass.
template <class Model>
double worst(const Model& model, int piece) {
    constexpr int time = 13;
    const auto ids = tokens(2, time, 5);
    const auto whole = model(ids).tensor();
    KeyValueCache<Model> cache(model, 2);
    double error = 0;
    for (int begin = 0; begin < time; begin += piece) {
        const int end = std::min(time, begin + piece);
        const auto part = contiguous(slice<1>(ids, begin, end));
        const auto logits = model(part, cache).tensor();
        CHECK(cache.length() == end);
        const auto found = support::values(logits), expected = support::values(slice<1>(whole, begin, end));
        for (std::size_t i = 0; i < found.size(); ++i)
            error = std::max(error, std::abs(found[i] - expected[i]));
    }
    return error;
}

}  // namespace

TEST_CASE("token by token, or in pieces, a cached model gives what one pass gives") {
    const Static model(seed(1));
    const Dynamic open(seed(1), sizes_of<support::Small>()), unlike(seed(1), unlike_layers());
    const Transformer<support::Latent, Device, F64> latent(seed(1));
    for (const int piece : {1, 2, 5, 13}) {
        CHECK(worst(model, piece) < 1e-12);
        CHECK(worst(open, piece) < 1e-12);
        CHECK(worst(unlike, piece) < 1e-12);
        CHECK(worst(latent, piece) < 1e-12);
    }
}

TEST_CASE("a token whose place stands in the device's memory gives what one pass gives") {
    const auto check = [](const auto& model) {
        constexpr int time = 13, prompt = 4;
        const auto ids = tokens(2, time, 5);
        const auto whole = model(ids).tensor();
        KeyValueCache<std::remove_cvref_t<decltype(model)>> cache(model, 2, time);
        model(contiguous(slice<1>(ids, 0, prompt)), cache);
        auto steady = cache.steady();
        const auto token = Tensor<int, Shape<2, 1>, Device>::uninitialized();
        for (int at = prompt; at < time; ++at) {
            copy_to(token, slice<1>(ids, at, at + 1));
            steady.place(cache.length());
            const auto logits = model(token, steady).tensor();
            cache.advance(1);
            const auto found = support::values(logits),
                       expected = support::values(slice<1>(whole, at, at + 1));
            for (std::size_t i = 0; i < found.size(); ++i) CHECK(std::abs(found[i] - expected[i]) < 1e-12);
        }
        CHECK_THROWS_WITH_AS(steady.place(cache.length()), "cache: expected at most 13 positions, got 14",
                             ShapeError);
    };
    check(Static(seed(1)));
    check(Dynamic(seed(1), sizes_of<support::Small>()));
    check(Transformer<Learned, Device, F64>(seed(1)));
    check(Transformer<Alibi, Device, F64>(seed(1)));
    check(Transformer<Windowed<support::Small>, Device, F64>(seed(1)));
    check(Dynamic(seed(1), sizes_of<Windowed<support::Small>>()));
    check(Dynamic(seed(1), unlike_layers()));
    check(Transformer<Windowed<Learned>, Device, F64>(seed(1)));
    check(Transformer<Windowed<Alibi>, Device, F64>(seed(1)));
    check(Transformer<support::Latent, Device, F64>(seed(1)));
}

TEST_CASE("the device goes on by itself, and is told where another token than the next is to go") {
    using Model = Transformer<Windowed<support::Small>, Device, F64>;
    const Model model(seed(1));
    KeyValueCache<Model> cache(model, 2);
    auto steady = cache.steady();
    const auto place = [&] {
        std::vector<double> place = support::values(steady.layer(0).length);
        for (const double length : support::values(steady.layer(0).lengths)) place.push_back(length);
        const auto starts = steady.layer(0).starts;
        for (const double start : support::values(slice<1>(starts, cache.capacity() - 1, cache.capacity())))
            place.push_back(start);
        return place;
    };
    steady.place(7);
    CHECK(place() == std::vector<double>{7, 8, 8, 5, 5});
    model(tokens(2, 1, 0), steady);
    CHECK(place() == std::vector<double>{8, 9, 9, 6, 6});
    steady.place(8);
    CHECK(place() == std::vector<double>{8, 9, 9, 6, 6});
    steady.place(8);  // again, as the work was not done
    CHECK(place() == std::vector<double>{8, 9, 9, 6, 6});
    steady.place(1);
    CHECK(place() == std::vector<double>{1, 2, 2, 0, 0});
}

TEST_CASE("a truncated cache goes on from there") {
    const Static model(seed(1));
    KeyValueCache<Static> cache(model);
    const auto prompt = tokens(1, 4, 2), wrong = tokens(1, 3, 0), next = tokens(1, 2, 7);
    model(prompt, cache);
    const auto expected = model(next, cache).tensor();
    cache.truncate(4);
    model(wrong, cache);
    cache.truncate(4);
    CHECK(cache.length() == 4);
    CHECK(support::same_bits(model(next, cache).tensor(), expected));
    cache.truncate();
    CHECK(cache.length() == 0);
    cache.truncate(9);  // no more than there is
    CHECK(cache.length() == 0);
}

TEST_CASE("a full cache is an error that says so") {
    const Static model(seed(1));
    KeyValueCache<Static> cache(model, 1, 5);
    CHECK(cache.capacity() == 5);
    model(tokens(1, 4, 0), cache);
    CHECK_THROWS_WITH_AS(model(tokens(1, 2, 0), cache), "cache: expected at most 5 positions, got 6",
                         ShapeError);
    CHECK_THROWS_AS(KeyValueCache<Static>(model, 1, 17), ShapeError);
}
