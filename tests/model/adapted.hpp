#pragma once

// What tests of adapters have in common.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/inference/generator.hpp>
#include <tenon/io/adapter_files.hpp>
#include <tenon/io/load_checkpoint.hpp>
#include <tenon/io/read_configuration.hpp>

#include "../io/temporary_folder.hpp"
#include "../nn/model.hpp"

namespace tenon::support {

/// B, too, is something, as after some training.
template <class Model>
void begin(Adapters<Model>& adapters, double scale = 1) {
    std::uint32_t number = 7;
    for (const auto& entry : adapters.entries())
        visit_element_type<Model>(*entry.b, [&]<class T>(std::type_identity<T>) {
            Numbers next(number++);
            write_elements<T, Device>(*entry.b, [&](T* to) {
                for (std::int64_t i = 0; i < entry.b->size(); ++i) to[i] = convert<T>(scale * next());
            });
        });
}

template <class Model>
std::vector<double> logits_of(const Model& model, const Tokens& ids) {
    const Tape::Pause pause(Tape::current());
    return values(detach(model(ids).tensor()));
}

inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    double worst = 0;
    for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
    return worst;
}

/// The 12 tokens that a model writes after a prompt.
template <class Model>
std::vector<std::int32_t> written_by(const Model& model) {
    const std::vector<std::int32_t> prompt{1, 4, 2};
    Generator generator(model, {.temperature = 0});
    generator.feed(prompt);
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 12; ++i) tokens.push_back(generator.next());
    return tokens;
}

/// A checkpoint of an Architecture, and adapters that PEFT has made for it (see lora/make.py).
template <class Architecture>
struct AdapterFixture {
    std::string folder;

    template <class Model>
    Model load() const {
        const OwnedConfiguration configuration = read_configuration(folder + "/config.json");
        return load_model<Model>(Architecture::sizes(configuration.table()), open_checkpoint(folder),
                                 Architecture::names);
    }

    std::vector<double> reference(const std::string& name) const {
        const Safetensors file = Safetensors::open(folder + "/reference.safetensors");
        const SafetensorsEntry& entry = file.at(name);
        std::vector<double> values(entry.bytes.size() / size_of(entry.type));
        detail::read_elements(entry, 0, static_cast<std::int64_t>(values.size()), values.data(), 1);
        return values;
    }
    Tokens ids() const {
        const std::vector<double> ids = reference("ids");
        return Tokens::from(std::vector<int>(ids.begin(), ids.end()), 2, 9);
    }

    /// What loading adapters of a folder within this one says, whose configuration has `to` for `from`.
    template <class Model>
    std::string message(Model& model, const std::string& adapters, const std::string& from,
                        const std::string& to) const {
        const TemporaryFolder changed;
        std::string config = read_file(folder + adapters + "/adapter_config.json");
        const std::size_t at = config.find(from);
        REQUIRE(at != config.npos);
        config.replace(at, from.size(), to);
        write_file(changed / "adapter_config.json", config);
        write_file(changed / "adapter_model.safetensors",
                   read_file(folder + adapters + "/adapter_model.safetensors"));
        try {
            load_adapters(model, changed.path(), Architecture::names);
            return "loaded";
        } catch (const FileError& error) {
            return std::string(error.what()).substr(changed.path().size() + 1);
        }
    }
};

}  // namespace tenon::support
