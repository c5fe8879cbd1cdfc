#pragma once

#include <utility>
#include <vector>

#include <tenon/core/random.hpp>
#include <tenon/optim/norm_cpu.hpp>
#include <tenon/optim/optimizer.hpp>
#include <tenon/optim/weights.hpp>

namespace tenon::detail {

/// Parameters whose update is Update::run(entry, weights, step), one after the other.
template <class Update, class Rule, class T, class C, class Master>
class CpuPass {
public:
    using Entry = TrainedParameter<T, C, Master>;

    CpuPass() = default;
    explicit CpuPass(const std::vector<Entry*>& entries) {
        for (Entry* entry : entries) items_.push_back({entry, {}, {}});
    }

    template <class RuleOf>
    void prepare(const RuleOf& rule_of, Seed seed) {
        for (Item& item : items_) {
            if (!item.entry->has_gradient) continue;
            item.step = step_of(rule_of(std::as_const(*item.entry)), item.entry->updates);
            item.weights = item.entry->weights(seed);
        }
    }

    void run(Kernel<GradientNorm, Cpu>::Scale) {
        for (const Item& item : items_)
            if (item.entry->has_gradient) Update::run(*item.entry, item.weights, item.step);
    }

private:
    struct Item {
        Entry* entry;
        StepOf<Rule> step;
        Weights<T, Master> weights;
    };

    std::vector<Item> items_;
};

}  // namespace tenon::detail
