#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tenon/autograd/parameter.hpp>
#include <tenon/nn/visitor.hpp>

namespace tenon {

/// A parameter under its full name.
struct NamedParameter {
    std::string name;
    ParameterBase* parameter;
};

/// Parameters under their names, in order: those of a model, or bare ones, which are named by their number.
class ParameterList {
public:
    template <class Model>
        requires(Model::is_tracked)
    ParameterList(Model& model) {
        for_each_parameter(model, [&](std::string_view name, ParameterBase& parameter) {
            named_.push_back({std::string(name), &parameter});
        });
    }
    ParameterList(const std::vector<ParameterBase*>& parameters) {
        for (ParameterBase* parameter : parameters)
            named_.push_back({std::to_string(named_.size()), parameter});
    }

    auto begin() const { return named_.begin(); }
    auto end() const { return named_.end(); }

private:
    std::vector<NamedParameter> named_;
};

/// A parameter's last two axes as matrices, as many as its other axes count; none where it has fewer axes.
struct Matrices {
    std::int64_t count, rows, columns;
};

inline Matrices matrices_of(const ParameterBase& parameter) {
    const Extents& extents = parameter.extents;
    if (extents.rank < 2) return {0, 0, 0};
    return {extents.count(0, extents.rank - 2), extents.from_end(1), extents.from_end(0)};
}

}  // namespace tenon
