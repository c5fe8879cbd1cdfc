#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include <tenon/model/bert.hpp>
#include <tenon/model/cs336.hpp>
#include <tenon/model/deepseek.hpp>
#include <tenon/model/gemma2.hpp>
#include <tenon/model/gemma3.hpp>
#include <tenon/model/gguf_form.hpp>
#include <tenon/model/gpt2.hpp>
#include <tenon/model/gpt_neox.hpp>
#include <tenon/model/llama.hpp>
#include <tenon/model/mistral.hpp>
#include <tenon/model/mixtral.hpp>
#include <tenon/model/olmo2.hpp>
#include <tenon/model/olmoe.hpp>
#include <tenon/model/phi3.hpp>
#include <tenon/model/qwen2.hpp>
#include <tenon/model/qwen3.hpp>
#include <tenon/model/qwen3_moe.hpp>
#include <tenon/model/smollm3.hpp>

namespace tenon {

template <class... A>
struct ArchitectureList {};

/// The decoders that checkpoints are read as (see Transformer): one file each, in alphabetical order.
using Architectures = ArchitectureList<Cs336, DeepseekV2, DeepseekV3, Gemma2, Gemma3, Gpt2, GptNeoX, Llama,
                                       Mistral, Mixtral, Olmo2, OlmoE, Phi3, Qwen2, Qwen3, Qwen3Moe, SmolLm3>;

/// The encoders that checkpoints are read as (see Encoder).
using Encoders = ArchitectureList<Bert>;

/// An architecture and a model's numbers, as a checkpoint's configuration says them.
struct Architecture {
    int index = -1;         ///< in Architectures, or in Encoders; -1: none that is supported
    std::string_view name;  ///< empty: none that is known
    TransformerSizes sizes;
    CheckpointNames names;
    /// Of a known architecture that is not supported: the setting for which it is not.
    const FixedSetting* unsupported = nullptr;
    bool is_encoder = false;

    constexpr explicit operator bool() const { return index >= 0; }
};

namespace detail {

/// Weights that are stored as other things than numbers are no architecture's.
inline constexpr FixedSetting no_quantization{"quantization_config", {}, {"null"}};

/// The setting of a configuration for which it is not this architecture's; nullptr: none.
template <class A>
constexpr const FixedSetting* unsupported_setting(const ConfigurationTable& table) {
    for (const ConfigurationEntry& entry : table) {
        if (entry.key.starts_with("quantization_config.")) return &no_quantization;
        if constexpr (requires { A::fixed; })
            for (const FixedSetting& setting : A::fixed)
                if (setting.key == entry.key && !setting.fits(entry)) return &setting;
    }
    return nullptr;
}

/// Whether GGUF files hold the architecture.
template <class A>
concept HasGgufForm = requires {
    A::gguf;
};

template <class A>
constexpr bool recognizes(const ConfigurationTable& table) {
    if (!gguf_architecture(table).empty()) {
        if constexpr (HasGgufForm<A>) return has_gguf_form<typename A::Features>(table, A::gguf);
        return false;
    }
    if constexpr (requires { A::recognizes(table); })
        return A::recognizes(table);
    else
        return table.text("model_type", "") == A::name;
}

template <class A>
constexpr Architecture read_architecture(const ConfigurationTable& table, int index) {
    if constexpr (HasGgufForm<A>)
        if (!gguf_architecture(table).empty())
            return {index, A::name, gguf_sizes<typename A::Features>(table, A::gguf), A::gguf.names};
    Architecture found;
    found.name = A::name;
    found.unsupported = unsupported_setting<A>(table);
    if (found.unsupported) return found;
    found.index = index;
    found.sizes = A::sizes(table);
    found.names = A::names;
    return found;
}

template <class... A>
constexpr Architecture find_architecture(const ConfigurationTable& table, ArchitectureList<A...>) {
    Architecture found;
    int index = 0;
    (void)((recognizes<A>(table) ? (found = read_architecture<A>(table, index), true) : (++index, false)) ||
           ...);
    return found;
}

template <class... A>
std::string names_of(ArchitectureList<A...>) {
    std::string names;
    ((names += (names.empty() ? "" : ", ") + std::string(A::name)), ...);
    return names;
}

/// The same as GGUF files say them, each once.
template <class... A>
std::string gguf_names_of(ArchitectureList<A...>) {
    std::string names;
    const auto add = [&]<class One>(One) {
        if constexpr (HasGgufForm<One>) {
            const std::string name(One::gguf.architecture);
            if ((", " + names + ",").find(", " + name + ",") != std::string::npos) return;
            names += (names.empty() ? "" : ", ") + name;
        }
    };
    (add(A()), ...);
    return names;
}

template <int index, class First, class... Rest>
constexpr auto architecture_at(ArchitectureList<First, Rest...>) {
    if constexpr (index == 0)
        return First();
    else
        return architecture_at<index - 1>(ArchitectureList<Rest...>());
}

/// The number of the first architecture in the list that has the features of A.
template <class A, class... All>
constexpr int first_alike(ArchitectureList<All...>) {
    const bool alike[] = {std::same_as<typename A::Features, typename All::Features>...};
    int index = 0;
    while (!alike[index]) ++index;
    return index;
}

template <class All, class F, class First, class... Rest>
auto visit_architecture(int index, F& f, ArchitectureList<First, Rest...>) {
    if constexpr (sizeof...(Rest) > 0)
        if (index > 0) return visit_architecture<All>(index - 1, f, ArchitectureList<Rest...>());
    return f(architecture_at<first_alike<First>(All())>(All()));
}

}  // namespace detail

/// The architecture that a configuration names, at compile time or run time, if it is supported. Throws
/// FileError where it is, and a number is missing, or a setting of positions or layers has another value than
/// is supported.
constexpr Architecture find_architecture(const ConfigurationTable& table) {
    const Architecture decoder = detail::find_architecture(table, Architectures{});
    if (!decoder.name.empty()) return decoder;
    Architecture encoder = detail::find_architecture(table, Encoders{});
    encoder.is_encoder = !encoder.name.empty();
    return encoder;
}

/// The same at run time. Throws FileError, too, where the architecture is not supported, naming those that
/// are, or where a setting has a value that is not.
inline Architecture require_architecture(const ConfigurationTable& table) {
    const Architecture found = find_architecture(table);
    if (found) return found;
    const std::string where(table.where());
    if (const std::string in_gguf(gguf_architecture(table)); !found.unsupported && !in_gguf.empty()) {
        const std::string known =
            detail::gguf_names_of(Architectures()) + ", " + detail::gguf_names_of(Encoders());
        if ((", " + known + ",").find(", " + in_gguf + ",") != known.npos)
            throw FileError(where + ": " + in_gguf +
                            ": expected experts, or none, and their expert_gating_func as models that are "
                            "supported have them, got others");
        throw FileError(where + ": general.architecture: expected one of " + known + ", got " + in_gguf);
    }
    if (!found.unsupported)
        throw FileError(where + ": model_type: expected one of " + detail::names_of(Architectures()) + ", " +
                        detail::names_of(Encoders()) + ", got " +
                        std::string(table.text("model_type", "none")));
    const std::string key(found.unsupported->key), name(found.name);
    const auto entry = table.find(key);
    if (!entry) throw FileError(where + ": " + key + ": expected none, as it is not supported");
    const std::string got = entry->kind == ConfigurationKind::text      ? std::string(entry->text)
                            : entry->kind == ConfigurationKind::boolean ? entry->integer ? "true" : "false"
                                                                        : std::string(name_of(entry->kind));
    throw FileError(where + ": " + key + ": expected " + found.unsupported->expected() + " of " + name +
                    ", as others are not supported, got " + got);
}

/// The architecture of a number known at compile time: `ArchitectureAt<architecture.index>::Features`.
template <int index>
using ArchitectureAt = decltype(detail::architecture_at<index>(Architectures()));
template <int index>
using EncoderAt = decltype(detail::architecture_at<index>(Encoders()));

/// Throws Error for an encoder, which does not write.
inline void require_decoder(const Architecture& architecture) {
    if (architecture.is_encoder)
        throw Error("expected a decoder, which writes text, got " + std::string(architecture.name) +
                    ", an encoder");
}

/// Calls f with a decoder's architecture that has the features of the one that was found, as a value of its
/// type, and returns what f does: where a model's features are read from a file. Of architectures with the
/// same features it is the first, so that f compiles once for each Features; name, sizes and names are those
/// of what was found.
///
///     visit_architecture(architecture, [&]<class A>(A) {
///         using Model = Transformer<DynamicTransformer<typename A::Features>>;
///         …
///     });
///
/// Throws Error for an encoder.
template <class F>
auto visit_architecture(const Architecture& architecture, F&& f) {
    if (!architecture) throw Error("visit_architecture: expected a known architecture, got none");
    require_decoder(architecture);
    return detail::visit_architecture<Architectures>(architecture.index, f, Architectures());
}

/// The same for an encoder. Throws Error for a decoder.
template <class F>
auto visit_encoder(const Architecture& architecture, F&& f) {
    if (!architecture) throw Error("visit_encoder: expected a known architecture, got none");
    if (!architecture.is_encoder)
        throw Error("expected an encoder, got " + std::string(architecture.name) + ", a decoder");
    return detail::visit_architecture<Encoders>(architecture.index, f, Encoders());
}

}  // namespace tenon
