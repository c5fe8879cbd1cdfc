#include "tenon/data/byte_ngram.hpp"

#include <cmath>
#include <cstdint>
#include <string>

#include <doctest/doctest.h>

using namespace tenon;

TEST_CASE("the probabilities after any context sum to 1") {
    ByteNgram model;
    model.fit("the cat sat on the mat, the rat sat on the cat");
    for (std::string before : {"", "t", "th", "the", " the", "zzz", "zth", "xyzthe c"}) {
        double sum = 0;
        for (int byte = 0; byte < 256; ++byte) {
            double probability = model.probability(before, static_cast<unsigned char>(byte));
            CHECK(probability > 0);
            sum += probability;
        }
        CHECK(sum == doctest::Approx(1).epsilon(1e-12));
    }
}

TEST_CASE("probabilities are Witten and Bell's, as worked out by hand") {
    ByteNgram model;
    model.fit("abab");
    // One byte back: none. Counts a 2, b 2, and 2 distinct: (2 + 2/256) / (4 + 2).
    double p0 = (2 + 2.0 / 256) / 6;
    CHECK(model.probability("", 'a') == doctest::Approx(p0));
    CHECK(model.probability("", 'z') == doctest::Approx((2.0 / 256) / 6));
    // After a: b twice, of 1 kind.
    double p1 = (2 + 1 * p0) / 3;
    CHECK(model.probability("a", 'b') == doctest::Approx(p1));
    // After ab: a once. After aba: b once.
    CHECK(model.probability("ab", 'a') == doctest::Approx((1 + (1 + p0) / 2) / 2));
    double p2 = (1 + p1) / 2;
    CHECK(model.probability("aba", 'b') == doctest::Approx((1 + p2) / 2));
    // Contexts that were never seen leave it to the shorter ones.
    CHECK(model.probability("zza", 'b') == doctest::Approx(p1));
    CHECK(model.probability("zzz", 'a') == doctest::Approx(p0));
}

TEST_CASE("bits per byte are the mean of the bytes' costs") {
    ByteNgram model;
    CHECK(model.bits_per_byte("anything") == doctest::Approx(8));  // before fitting: uniform
    model.fit("hello world, hello bytes");
    std::string held_out = std::string("help \xFF\0 hello", 13);
    double bits = 0;
    for (std::size_t i = 0; i < held_out.size(); ++i) {
        bits -= std::log2(model.probability(held_out.substr(0, i), static_cast<unsigned char>(held_out[i])));
    }
    CHECK(model.bits_per_byte(held_out) == doctest::Approx(bits / 13.0));
    CHECK(model.bits_per_byte("") == 0);
}

TEST_CASE("what repeats costs next to nothing, noise no less than 8 bits, and fitting starts anew") {
    ByteNgram model;
    std::string period;
    for (int i = 0; i < 10'000; ++i) period += "abcd"[i % 4];
    model.fit(period);
    CHECK(model.bits_per_byte(period) < 0.01);

    std::uint64_t state = 1;
    std::string noise;
    for (int i = 0; i < 400'000; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX generator
        noise += static_cast<char>(state >> 56);
    }
    model.fit(noise.substr(0, 300'000));
    double bits = model.bits_per_byte(noise.substr(300'000));
    CHECK(bits > 7.99);
    CHECK(bits < 9.5);  // more than 8: chance repetitions are believed
    model.fit("");
    CHECK(model.bits_per_byte("abc") == doctest::Approx(8));
}
