#pragma once

#include <tenon/model/configuration.hpp>
#include <tenon/op/rotary/rotary.hpp>

namespace tenon {

/// The rotary tables of a model's layers, which share them.
template <class C, class Device = Cpu>
class Rotations {
public:
    explicit Rotations(const TransformerSizes& sizes)
        : frequencies_(sizes.rotary_base, sizes.rotary_width, sizes.rotary_scaling),
          window_(sizes.window),
          windowless_(sizes.windowless_layers),
          unturned_(sizes.unturned_layers),
          usual_(sizes.context, sizes.turned_head_width(), frequencies_) {
        if (window_ > 0 && sizes.window_rotary_base > 0)
            windowed_ = Table(sizes.context, sizes.turned_head_width(),
                              RotaryFrequencies(sizes.window_rotary_base, sizes.rotary_width));
        else
            windowed_ = usual_;
        if (unturned_ != LayerSet())  // no pair is turned
            none_ = Table(sizes.context, sizes.turned_head_width(), RotaryFrequencies(sizes.rotary_base, 0));
        if (switches() && sizes.context > original())
            long_ = Table(sizes.context, sizes.turned_head_width(), frequencies_, sizes.context);
    }

    using Table = RotaryTable<C, Device>;

    /// The table of a layer.
    const Table& operator()(int layer) const {
        if (unturned_.has(layer)) return none_;
        return window_ > 0 && !windowless_.has(layer) ? windowed_ : usual_;
    }

    /// The tables for a pass over `time` tokens from a position on. Where frequencies depend on the length of
    /// the sequence, a token that comes alone has those of the sequence that it ends.
    Rotations in_pass(int first_position, int time) const {
        const int end = first_position + time;
        if (!frequencies_.depend_on_length() || time == 1 || end <= original() || end > usual_.positions())
            return *this;
        Rotations result = *this;
        const Table table = switches() ? long_ : Table(usual_.positions(), usual_.width, frequencies_, end);
        if (windowed_.cosine.data() == usual_.cosine.data()) result.windowed_ = table;
        result.usual_ = table;
        return result;
    }

    /// Whether all tokens are turned otherwise in a sequence of `length` tokens than in one of `before`: what
    /// is stored of them is of no more use. (Where frequencies grow with each token, what is stored stays.)
    bool changes(int before, int length) const {
        return switches() && before <= original() && length > original();
    }

private:
    bool switches() const { return frequencies_.scaling().kind == RotaryScalingKind::long_factors; }
    double original() const { return frequencies_.scaling().original_context; }

    RotaryFrequencies frequencies_;
    int window_;
    LayerSet windowless_, unturned_;
    Table usual_, windowed_, none_, long_;
};

}  // namespace tenon
