#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include <tenon/files.hpp>
#include <tenon/inference/generator.hpp>
#include <tenon/io/borrow_model.hpp>
#include <tenon/model/architectures.hpp>
#include <tenon/model/transformer.hpp>

#include "speaker.hpp"

template <class Model>
class SpeakerOf final : public Speaker {
public:
    template <class Source>
    SpeakerOf(const tenon::TransformerSizes& sizes, std::shared_ptr<const Source> source,
              const tenon::CheckpointNames& names, const tenon::SamplingOptions& sampling, tenon::Seed seed)
        : source_(source), model_(load(sizes, *source, names)), generator_(model_, sampling, seed) {}

    std::span<const std::int32_t> tokens() const override { return generator_.tokens(); }
    int capacity() const override { return generator_.capacity(); }
    void follow(std::span<const std::int32_t> tokens) override {
        const std::span<const std::int32_t> last = generator_.tokens();
        const auto common = std::mismatch(tokens.begin(), tokens.end(), last.begin(), last.end()).first;
        generator_.rewind(static_cast<int>(common - tokens.begin()));
        generator_.feed(tokens.subspan(static_cast<std::size_t>(common - tokens.begin())));
    }
    std::int32_t next() override { return generator_.next(); }

private:
    /// On the CPU what the file holds as the model does is used where it lies.
    template <class Source>
    static Model load(const tenon::TransformerSizes& sizes, const Source& source,
                      const tenon::CheckpointNames& names) {
        if constexpr (std::same_as<typename Model::Device, tenon::Cpu>)
            return tenon::borrow_model<Model>(sizes, source, names);
        else
            return tenon::load_model<Model>(sizes, source, names);
    }

    const std::shared_ptr<const void> source_;  // outlives the model
    const Model model_;
    tenon::Generator<Model> generator_;
};

template <class Device, tenon::Precision P>
std::unique_ptr<Speaker> load_speaker(const std::string& path, const tenon::Architecture& architecture,
                                      int context, const tenon::SamplingOptions& sampling, tenon::Seed seed) {
    using namespace tenon;
    return visit_architecture(architecture, [&]<class A>(A) -> std::unique_ptr<Speaker> {
        using Features = typename A::Features;
        using Model = Transformer<DynamicTransformer<Features>, Device, P>;
        TransformerSizes sizes = resolved(architecture.sizes, Features::positions);
        // Learned positions are all in the file.
        if (Features::positions != Positions::learned) sizes.context = std::min(sizes.context, context);
        const auto load = [&]<class Source>(Source source) {
            return std::make_unique<SpeakerOf<Model>>(
                sizes, std::make_shared<const Source>(std::move(source)), architecture.names, sampling, seed);
        };
        if (path.ends_with(".gguf")) return load(Gguf::open(path));
        return load(open_checkpoint(path));
    });
}
