#pragma once

#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"
#include "tenon/tokenizer/step.hpp"

namespace tenon {

/// A step that changes text before it is cut. Those of tokenizer.json are in normalizers.hpp.
class NormalizerStep : public Step<detail::AlignedText&> {
public:
    template <class Fields>
    NormalizerStep(Fields fields) : Step(fields) {
        if constexpr (requires { fields.is_local(); }) is_local_ = fields.is_local();
        if constexpr (requires { fields.acts_at_start(); }) acts_at_start_ = fields.acts_at_start();
    }

    /// Whether text can be cut before a space that follows another character, and each part be changed for
    /// itself.
    bool is_local() const { return is_local_; }
    /// Whether the step does something where a text starts, and nothing else: not where it goes on after a
    /// cut.
    bool acts_at_start() const { return acts_at_start_; }

private:
    bool is_local_ = false, acts_at_start_ = false;
};

/// The steps that change text before it is cut, in order.
using Normalizer = std::vector<NormalizerStep>;

namespace detail {

/// With `is_start` false, the text goes on after a cut.
inline void normalize(const Normalizer& steps, AlignedText& text, bool is_start = true) {
    for (const NormalizerStep& step : steps) {
        if (is_start || !step.acts_at_start()) step.apply(text);
    }
}

}  // namespace detail

}  // namespace tenon
