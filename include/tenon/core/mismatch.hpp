#pragma once

#include <string>
#include <string_view>

#include <tenon/core/error.hpp>
#include <tenon/core/shape.hpp>

/// Faults of shape. Each is a template that is never defined: a call that does not fit returns one, so that
/// the first line of the compiler's message carries the operation and both shapes. At run time a ShapeError
/// carries the same words.
namespace tenon::mismatch {}

namespace tenon::detail {

/// The name of a type or template argument, as the compiler prints it. Only for messages.
template <class T>
constexpr std::string_view type_name() {
    const std::string_view text = __PRETTY_FUNCTION__;
    std::size_t begin = text.find("T = ") + 4;
    std::size_t end = text.find(';', begin);
    if (end == std::string_view::npos) end = text.rfind(']');
    return text.substr(begin, end - begin);
}

/// `Shape<8, 768>`, as the compiler would print the type of these extents.
inline std::string shape_text(const Extents& extents) {
    std::string text = "Shape<";
    for (int axis = 0; axis < extents.rank; ++axis) {
        if (axis > 0) text += ", ";
        if (is_exact(extents[axis]))
            text += std::to_string(extents[axis]);
        else if (is_bounded(extents[axis]))
            text += "upto<" + std::to_string(bound_of(extents[axis])) + ">";
        else
            text += "dyn";
    }
    return text + ">";
}

template <template <class...> class Fault>
struct FaultProbe {};

/// A type's name without namespaces and arguments.
constexpr std::string_view bare_name(std::string_view name) {
    const std::size_t colon = name.rfind("::", name.find('<'));
    if (colon != std::string_view::npos) name = name.substr(colon + 2);
    return name.substr(0, name.find_first_of(" <>"));
}

/// The bare name of a fault: `matmul_inner_extents_differ`.
template <template <class...> class Fault>
constexpr std::string_view fault_name() {
    std::string_view name = type_name<FaultProbe<Fault>>();
    name.remove_prefix(name.find('<') + 1);
    return bare_name(name);
}

[[noreturn, gnu::noinline, gnu::cold]] inline void throw_shape_error(const std::string& fault,
                                                                     const Extents& a, const Extents& b) {
    throw ShapeError(fault + shape_text(a) + ", " + shape_text(b) + '>');
}

}  // namespace tenon::detail

namespace tenon {

/// Throws the ShapeError whose words are those of the compile error `mismatch::Fault<Operation..., A, B>`.
template <template <class...> class Fault, class... Operation>
[[noreturn, gnu::noinline, gnu::cold]] void throw_mismatch(const Extents& a, const Extents& b) {
    std::string fault(detail::fault_name<Fault>());
    fault += '<';
    ((fault += detail::bare_name(detail::type_name<Operation>()), fault += ", "), ...);
    detail::throw_shape_error(fault, a, b);
}

}  // namespace tenon
