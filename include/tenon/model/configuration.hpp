#pragma once

#include <tenon/core/mismatch.hpp>
#include <tenon/op/rotary/rotary.hpp>

namespace tenon {

/// What a Transformer's configuration says where it says nothing else. A configuration is a type:
///
///     struct TinyStories : TransformerDefaults {
///         static constexpr int vocabulary = 10'000, context = 256, width = 512, depth = 4, heads = 16,
///         hidden = 1344;
///     };
///
/// Each number may be `dyn` instead; it is then given in TransformerSizes when the model is made.
struct TransformerDefaults {
    static constexpr int key_value_heads = 0;  ///< 0: as many as heads
    static constexpr int head_width = 0;       ///< 0: width / heads
    static constexpr bool tied = false;        ///< the head's weight is the embedding's
    static constexpr RotaryPairs rotary_pairs = RotaryPairs::interleaved;
    static constexpr double rotary_base = 10'000;
    static constexpr double norm_epsilon = 1e-5;
};

/// A Transformer's numbers as values.
struct TransformerSizes {
    int vocabulary = 0, context = 0, width = 0, depth = 0, heads = 0, key_value_heads = 0, head_width = 0,
        hidden = 0;
    bool tied = false;
    RotaryPairs rotary_pairs = RotaryPairs::interleaved;
    double rotary_base = 10'000, norm_epsilon = 1e-5;
};

/// The configuration whose numbers are all given at run time.
struct DynamicTransformer : TransformerDefaults {
    static constexpr auto vocabulary = dyn, context = dyn, width = dyn, depth = dyn, heads = dyn,
                          key_value_heads = dyn, head_width = dyn, hidden = dyn;
};

/// The configuration type of numbers known at compile time: `StaticTransformer<sizes>` for a constant of
/// static storage.
template <const TransformerSizes& sizes>
struct StaticTransformer {
    static constexpr int vocabulary = sizes.vocabulary, context = sizes.context, width = sizes.width,
                         depth = sizes.depth, heads = sizes.heads, key_value_heads = sizes.key_value_heads,
                         head_width = sizes.head_width, hidden = sizes.hidden;
    static constexpr bool tied = sizes.tied;
    static constexpr RotaryPairs rotary_pairs = sizes.rotary_pairs;
    static constexpr double rotary_base = sizes.rotary_base, norm_epsilon = sizes.norm_epsilon;
};

namespace mismatch {
/// A Transformer's width is no multiple of its number of heads, and no head width is given.
template <class Width, class Heads>
struct transformer_width_is_no_multiple_of_heads;
/// A Transformer's number of heads is no multiple of that of its keys and values.
template <class Heads, class KeyValueHeads>
struct transformer_heads_are_no_multiple_of_key_value_heads;
/// Rotary positions need an even head width.
template <class Width, class HeadWidth>
struct transformer_head_width_is_odd;
}  // namespace mismatch

namespace detail {

/// The faults of a configuration's codes, in the order of the mismatches above; 0 for none.
constexpr int transformer_fault(ExtentCode width, ExtentCode heads, ExtentCode key_value_heads,
                                ExtentCode head_width) {
    if (!is_exact(heads)) return 0;
    if (head_width == 0 && is_exact(width) && (heads == 0 || width % heads != 0)) return 1;
    if (is_exact(key_value_heads) && key_value_heads != 0 && heads % key_value_heads != 0) return 2;
    const ExtentCode resolved = head_width != 0 ? head_width : is_exact(width) ? width / heads : dyn_code;
    return is_exact(resolved) && resolved % 2 != 0 ? 3 : 0;
}

/// A configuration with its defaults worked out.
template <class C>
struct Resolved {
    static constexpr auto key_value_heads = [] {
        if constexpr (extent_code(C::key_value_heads) == 0)
            return C::heads;
        else
            return C::key_value_heads;
    }();
    static constexpr auto head_width = [] {
        if constexpr (extent_code(C::head_width) != 0)
            return C::head_width;
        else if constexpr (is_exact(extent_code(C::width)) && is_exact(extent_code(C::heads)))
            return C::width / C::heads;
        else
            return dyn;
    }();
};

/// A base class: incomplete, and named after the fault, for a configuration that does not fit together.
template <class C, int fault = transformer_fault(extent_code(C::width), extent_code(C::heads),
                                                 extent_code(C::key_value_heads), extent_code(C::head_width))>
struct CheckConfiguration {};
template <class C>
struct CheckConfiguration<C, 1>
    : mismatch::transformer_width_is_no_multiple_of_heads<Shape<C::width>, Shape<C::heads>> {};
template <class C>
struct CheckConfiguration<C, 2>
    : mismatch::transformer_heads_are_no_multiple_of_key_value_heads<Shape<C::heads>,
                                                                     Shape<C::key_value_heads>> {};
template <class C>
struct CheckConfiguration<C, 3>
    : mismatch::transformer_head_width_is_odd<Shape<C::width>, Shape<Resolved<C>::head_width>> {};

}  // namespace detail

/// The numbers of a configuration; those that it leaves open are 0.
template <class C>
constexpr TransformerSizes sizes_of() {
    auto number = [](auto extent) { return is_exact(extent_code(extent)) ? extent_code(extent) : 0; };
    TransformerSizes sizes;
    sizes.vocabulary = number(C::vocabulary);
    sizes.context = number(C::context);
    sizes.width = number(C::width);
    sizes.depth = number(C::depth);
    sizes.heads = number(C::heads);
    sizes.key_value_heads = number(detail::Resolved<C>::key_value_heads);
    sizes.head_width = number(detail::Resolved<C>::head_width);
    sizes.hidden = number(C::hidden);
    sizes.tied = C::tied;
    sizes.rotary_pairs = C::rotary_pairs;
    sizes.rotary_base = C::rotary_base;
    sizes.norm_epsilon = C::norm_epsilon;
    return sizes;
}

/// Sizes with their defaults worked out. Throws ShapeError with the words of the compile error where they do
/// not fit together.
inline TransformerSizes resolved(TransformerSizes sizes) {
    const auto require = [](const char* name, int value) {
        if (value <= 0)
            throw ShapeError(std::string("transformer: expected a positive ") + name + ", got " +
                             std::to_string(value));
    };
    require("vocabulary", sizes.vocabulary);
    require("context", sizes.context);
    require("width", sizes.width);
    require("depth", sizes.depth);
    require("number of heads", sizes.heads);
    require("hidden width", sizes.hidden);
    const int fault =
        detail::transformer_fault(sizes.width, sizes.heads, sizes.key_value_heads, sizes.head_width);
    if (fault == 1)
        throw_mismatch<mismatch::transformer_width_is_no_multiple_of_heads>(Extents(sizes.width),
                                                                            Extents(sizes.heads));
    if (fault == 2)
        throw_mismatch<mismatch::transformer_heads_are_no_multiple_of_key_value_heads>(
            Extents(sizes.heads), Extents(sizes.key_value_heads));
    if (sizes.key_value_heads == 0) sizes.key_value_heads = sizes.heads;
    if (sizes.head_width == 0) sizes.head_width = sizes.width / sizes.heads;
    if (fault == 3)
        throw_mismatch<mismatch::transformer_head_width_is_odd>(Extents(sizes.width),
                                                                Extents(sizes.head_width));
    require("number of key and value heads", sizes.key_value_heads);
    require("head width", sizes.head_width);
    if (std::int64_t{sizes.heads} * sizes.head_width > 0x7fffffff)
        throw ShapeError("transformer: expected heads times head width below 2^31, got " +
                         std::to_string(sizes.heads) + " times " + std::to_string(sizes.head_width));
    if (!(sizes.rotary_base > 0 && sizes.rotary_base < 1e300))
        throw ShapeError("transformer: expected a positive rotary base, got " +
                         std::to_string(sizes.rotary_base));
    if (!(sizes.norm_epsilon >= 0 && sizes.norm_epsilon < 1))
        throw ShapeError("transformer: expected a norm's epsilon from 0 to 1, got " +
                         std::to_string(sizes.norm_epsilon));
    return sizes;
}

/// Number of parameters of a Transformer of these sizes.
constexpr std::int64_t parameter_count(const TransformerSizes& s) {
    const std::int64_t embedding = std::int64_t{s.vocabulary} * s.width;
    const std::int64_t attention = std::int64_t{2} * s.width * (s.heads + s.key_value_heads) * s.head_width;
    const std::int64_t feed_forward = std::int64_t{3} * s.width * s.hidden;
    return embedding * (s.tied ? 1 : 2) + s.depth * (attention + feed_forward + 2 * s.width) + s.width;
}

}  // namespace tenon
