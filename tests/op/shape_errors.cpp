#include <string>

#include <doctest/doctest.h>

#include <tenon/expression/reduction.hpp>
#include <tenon/model/transformer.hpp>
#include <tenon/op/attention/attention.hpp>
#include <tenon/op/cross_entropy/cross_entropy.hpp>
#include <tenon/op/embedding/embedding.hpp>
#include <tenon/op/matmul/matmul.hpp>
#include <tenon/op/rms_norm/rms_norm.hpp>
#include <tenon/op/rotary/rotary.hpp>
#include <tenon/op/view/view.hpp>

#include "../support.hpp"

// The mistakes of tests/compile_fail once more, with extents that only the run knows: the exception has the
// words of the compile error.

using namespace tenon;
using support::Device;

namespace {

using Vector = Tensor<float, Shape<dyn>, Device>;
using Matrix = Tensor<float, Shape<dyn, dyn>, Device>;
using Cube = Tensor<float, Shape<dyn, dyn, dyn>, Device>;
using Heads = Tensor<float, Shape<dyn, dyn, dyn, dyn>, Device>;
using Tokens = Tensor<int, Shape<dyn, dyn>, Device>;

template <class Mistake>
std::string words_of(Mistake mistake) {
    try {
        mistake();
    } catch (const ShapeError& error) {
        return error.what();
    }
    return "no ShapeError";
}

}  // namespace

TEST_CASE("assignment") {
    const Matrix x = Matrix::zeros(8, 768);
    CHECK(words_of([&] { Tensor<float, Shape<8, 512>, Device> y = x; }) ==
          "assignment<Shape<8, 768>, Shape<8, 512>>");
    CHECK(words_of([&] { Tensor<float, Shape<8, 512>, Device> y = x + x; }) ==
          "assignment<Shape<8, 768>, Shape<8, 512>>");
    CHECK(words_of([&] { Tensor<float, Shape<8, upto<512>>, Device> y = x; }) ==
          "assignment<Shape<8, 768>, Shape<8, upto<512>>>");
    CHECK(words_of([&] { Tensor<float, Shape<upto<4>>, Device>::zeros(5); }) ==
          "assignment<Shape<5>, Shape<upto<4>>>");
}

TEST_CASE("extents that do not broadcast") {
    const Matrix x = Matrix::zeros(8, 768);
    const Vector y = Vector::zeros(512);
    CHECK(words_of([&] { x + y; }) == "extents_do_not_broadcast<Add, Shape<8, 768>, Shape<512>>");
    CHECK(words_of([&] { x - y; }) == "extents_do_not_broadcast<Subtract, Shape<8, 768>, Shape<512>>");
    CHECK(words_of([&] { x* y; }) == "extents_do_not_broadcast<Multiply, Shape<8, 768>, Shape<512>>");
    CHECK(words_of([&] { x / y; }) == "extents_do_not_broadcast<Divide, Shape<8, 768>, Shape<512>>");
    CHECK(words_of([&] { max(x, y); }) == "extents_do_not_broadcast<Maximum, Shape<8, 768>, Shape<512>>");
    CHECK(words_of([&] { min(x, y); }) == "extents_do_not_broadcast<Minimum, Shape<8, 768>, Shape<512>>");
}

TEST_CASE("views") {
    const Matrix x = Matrix::zeros(8, 768);
    CHECK(words_of([&] { reshape<Shape<8, 512>>(x); }) ==
          "reshape_changes_the_number_of_elements<Shape<8, 768>, Shape<8, 512>>");
    CHECK(words_of([&] { split_axis<1, 3, 5>(x); }) ==
          "reshape_changes_the_number_of_elements<Shape<8, 768>, Shape<8, 3, 5>>");
    CHECK(words_of([&] { broadcast_to<Shape<8, 512>>(Vector::zeros(768)); }) ==
          "broadcast_to_extents_differ<Shape<768>, Shape<8, 512>>");
    CHECK(words_of([&] { slice<0, 6, 9>(x); }) ==
          "slice_outside_of_extent<Shape<8, 768>, range<6, 9>> of axis 0");
    CHECK(words_of([&] { slice<0>(x, 6, 9); }) ==
          "slice_outside_of_extent<Shape<8, 768>, range<6, 9>> of axis 0");
}

TEST_CASE("matrix products") {
    const Matrix x = Matrix::zeros(8, 768);
    CHECK(words_of([&] { matmul(x, Matrix::zeros(512, 64)); }) ==
          "matmul_inner_extents_differ<Shape<8, 768>, Shape<512, 64>>");
    CHECK(words_of([&] { matmul<MatmulOptions{.transpose_right = true}>(x, Matrix::zeros(64, 512)); }) ==
          "matmul_inner_extents_differ<Shape<8, 768>, Shape<64, 512>>");
    CHECK(words_of([&] { matmul(Cube::zeros(4, 8, 768), Cube::zeros(2, 768, 64)); }) ==
          "matmul_batch_extents_differ<Shape<4, 8, 768>, Shape<2, 768, 64>>");
    CHECK(words_of([&] { Logits(Cube::zeros(2, 24, 64), Matrix::zeros(512, 32)); }) ==
          "matmul_inner_extents_differ<Shape<2, 24, 64>, Shape<512, 32>>");
}

TEST_CASE("norms, rotations and losses") {
    CHECK(words_of([&] { rms_norm(Matrix::zeros(8, 768), Vector::zeros(512)); }) ==
          "rms_norm_gain_differs<Shape<8, 768>, Shape<512>>");
    CHECK(words_of([&] {
              rotary(Heads::zeros(2, 24, 4, 15), RotaryTable<float, Device>(24, 16, 1e4),
                     RotaryPairs::half_split);
          }).starts_with("rotary_needs_an_even_width<Shape<2, 24, 4, 15>, "));
    CHECK(words_of([&] {
              rotary(Heads::zeros(2, 24, 4, 14), RotaryTable<float, Device>(24, 16, 1e4),
                     RotaryPairs::half_split);
          }).starts_with("rotary_widths_differ<Shape<2, 24, 4, 14>, "));
    CHECK(words_of([&] { cross_entropy(Cube::zeros(2, 24, 512), Tokens::zeros(2, 23)); }) ==
          "cross_entropy_targets_differ<Shape<2, 24, 512>, Shape<2, 23>>");
    CHECK(words_of([&] {
              cross_entropy(Logits(Cube::zeros(2, 24, 64), Matrix::zeros(512, 64)), Tokens::zeros(2, 23));
          }) == "cross_entropy_targets_differ<Shape<2, 24, 512>, Shape<2, 23>>");
}

TEST_CASE("attention") {
    const Heads queries = Heads::zeros(2, 24, 8, 64);
    CHECK(words_of([&] { attention(queries, Heads::zeros(3, 24, 8, 64), Heads::zeros(3, 24, 8, 64)); }) ==
          "attention_batch_extents_differ<Shape<2, 24, 8, 64>, Shape<3, 24, 8, 64>>");
    CHECK(words_of([&] { attention(queries, Heads::zeros(2, 24, 8, 32), queries); }) ==
          "attention_key_widths_differ<Shape<2, 24, 8, 64>, Shape<2, 24, 8, 32>>");
    CHECK(words_of([&] { attention(queries, queries, Heads::zeros(2, 25, 8, 64)); }) ==
          "attention_keys_and_values_differ<Shape<2, 24, 8, 64>, Shape<2, 25, 8, 64>>");
    CHECK(words_of([&] { attention(queries, Heads::zeros(2, 24, 3, 64), Heads::zeros(2, 24, 3, 64)); }) ==
          "attention_heads_do_not_share_key_value_heads<Shape<2, 24, 8, 64>, Shape<2, 24, 3, 64>>");
}

TEST_CASE("configurations of a Transformer") {
    TransformerSizes sizes{
        .vocabulary = 512, .context = 128, .width = 512, .depth = 2, .heads = 12, .hidden = 1344};
    using Model = Transformer<DynamicTransformer<>>;
    CHECK(words_of([&] { Model model(sizes); }) ==
          "transformer_width_is_no_multiple_of_heads<Shape<512>, Shape<12>>");
    sizes.heads = 16;
    sizes.key_value_heads = 3;
    CHECK(words_of([&] { Model model(sizes); }) ==
          "transformer_heads_are_no_multiple_of_key_value_heads<Shape<16>, Shape<3>>");
    sizes.key_value_heads = 0;
    sizes.width = 480;
    sizes.heads = 32;
    CHECK(words_of([&] { Model model(sizes); }) == "transformer_head_width_is_odd<Shape<480>, Shape<15>>");
}
