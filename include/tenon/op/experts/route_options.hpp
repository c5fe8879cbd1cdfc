#pragma once

namespace tenon {

/// What stands for a group of experts when the best groups are chosen.
enum class GroupScore {
    maximum,         ///< the best of its experts' (DeepSeek-V2)
    sum_of_best_two  ///< (DeepSeek-V3)
};

/// How experts are chosen for a token.
struct RouteOptions {
    int experts_per_token = 1;
    bool normalized = false;  ///< whether a token's weights add up to 1, times the scale
    double scale = 1;         ///< a factor of the weights
    /// Experts are chosen from the best `chosen_groups` of so many groups of neighbours.
    int groups = 1, chosen_groups = 1;
    GroupScore group_score = GroupScore::maximum;
};

}  // namespace tenon
