#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "tenon/tokenizer/aligned_text.hpp"

namespace tenon {

/// What becomes of the parts of a text that a pre-tokenizer looks for.
enum class SplitBehavior : std::uint8_t {
    removed,
    isolated,
    merged_with_previous,
    merged_with_next,
    contiguous
};

namespace detail {

/// Makes pieces of the parts of a text: of those that were found and of what lies between.
class MatchSplitter {
public:
    explicit MatchSplitter(SplitBehavior behavior) : behavior_(behavior) {}

    /// Takes the next part of the text: parts follow each other.
    void push(Span part, bool is_match) { parts_.push_back({part, is_match}); }

    /// Takes what lies between what was found, if anything does.
    void push_between(Span part, bool is_match) {
        if (part.size() > 0) push(part, is_match);
    }

    /// The pieces, some of which may be empty. Holds until the next call; what is pushed next begins another
    /// text.
    const std::vector<Span>& finish() {
        pieces_.clear();
        for (std::size_t i = 0; i < parts_.size(); ++i) {
            const Part& part = parts_[i];
            if (behavior_ == SplitBehavior::removed && part.is_match) continue;
            if (!pieces_.empty() && joins_previous(i)) {
                pieces_.back().end = part.span.end;
            } else {
                pieces_.push_back(part.span);
            }
        }
        parts_.clear();
        return pieces_;
    }

private:
    struct Part {
        Span span;
        bool is_match;
    };

    bool joins_previous(std::size_t i) const {
        const bool is_match = parts_[i].is_match, follows_match = parts_[i - 1].is_match;
        switch (behavior_) {
            case SplitBehavior::contiguous:
                return is_match == follows_match;
            case SplitBehavior::merged_with_previous:
                return is_match && !follows_match;
            case SplitBehavior::merged_with_next:
                return !is_match && follows_match;
            default:
                return false;
        }
    }

    SplitBehavior behavior_;
    std::vector<Part> parts_;
    std::vector<Span> pieces_;
};

}  // namespace detail

}  // namespace tenon
