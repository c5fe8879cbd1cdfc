#pragma once

#include <string_view>

#include <tenon/nn/visitor.hpp>
#include <tenon/op/cross_entropy/logits.hpp>

namespace tenon {

/// What a layer's adapter adds to its result, if its setting may have adapters and the layer has one (see
/// `nn/adapted.hpp`, where there is more to it): here, nothing. Adapters are of element type T.
template <class Setting, class T = typename Setting::Value>
struct AdapterSlot {
    /// y of a linear layer that reads x, or of one for each group of rows.
    template <class X, class Y, class... Begins>
    static Y added(const X&, const Y& y, const Begins&...) {
        return y;
    }
    /// y of a table whose rows are looked up.
    template <class Ids, class Y>
    static Y added_rows(const Ids&, const Y& y) {
        return y;
    }
    /// What is added to logits of these states.
    template <class X>
    static NoAddend logits_addend(const X&) {
        return {};
    }
    /// Visits the place for the adapter of a layer whose weight is called so.
    static void visit_place(ParameterVisitor&, std::string_view, ParameterBase&) {}
};

}  // namespace tenon
