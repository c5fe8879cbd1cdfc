#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/file.hpp"
#include "tenon/io/gguf_metadata.hpp"
#include "tenon/io/json.hpp"
#include "tenon/io/mapped_file.hpp"
#include "tenon/tokenizer/jinja/template.hpp"

namespace tenon {

/// One message of a conversation.
struct ChatMessage {
    std::string role;  ///< "system", "user", "assistant", …
    std::string content;
};

/// What a chat template is told beside the messages.
struct ChatOptions {
    bool add_generation_prompt = true;  ///< ends with what begins the assistant's answer
    jinja::Map names{};                 ///< further names, such as `tools` or `enable_thinking`
    std::time_t now = std::time(nullptr);
};

/// A model's chat template: turns a conversation into the text that the model was trained on (Hugging Face's
/// `apply_chat_template`; the language is Jinja's, see jinja/template.hpp). It never changes: threads may
/// share it.
class ChatTemplate {
public:
    /// Takes the template and the texts of special tokens that it may name, such as `bos_token`. Throws Error
    /// with the line of what is wrong.
    explicit ChatTemplate(std::string_view source, jinja::Map special_tokens = {})
        : template_(source), special_tokens_(std::move(special_tokens)) {}

    /// Reads `chat_template.jinja` of a checkpoint's folder, or `chat_template` of its
    /// `tokenizer_config.json`: of several, the one named "default"; special tokens are those of the latter
    /// file. Or what the metadata of a GGUF file say. Throws FileError if there is none.
    static ChatTemplate load(const std::string& folder) {
        if (folder.ends_with(".gguf")) return load_gguf(folder);
        const std::string file = folder + "/chat_template.jinja",
                          config_file = folder + "/tokenizer_config.json";
        jinja::Map special_tokens;
        std::optional<std::string> source;
        if (path_exists(config_file)) {
            const JsonDocument config = parse_json(read_file(config_file), config_file);
            special_tokens = special_tokens_of(config.root());
            if (const std::optional<Json> given = config.root().find("chat_template"))
                source = source_of(*given);
        }
        if (path_exists(file)) source = read_file(file);
        if (!source) throw FileError(folder + ": expected a chat template, got none");
        return ChatTemplate(*source, std::move(special_tokens));
    }

    /// The text of a conversation. Throws Error for what the template refuses, with its own words.
    std::string apply(std::span<const ChatMessage> messages, const ChatOptions& options = {}) const {
        jinja::List list;
        for (const ChatMessage& message : messages)
            list.emplace_back(jinja::Map{{"role", message.role}, {"content", message.content}});
        return apply(jinja::Value(std::move(list)), options);
    }

    /// The same of messages with further members, as Hugging Face takes them: `jinja::Value(json)` of a JSON
    /// array.
    std::string apply(const jinja::Value& messages, const ChatOptions& options = {}) const {
        jinja::Map names = special_tokens_;
        names.set("messages", messages);
        names.set("add_generation_prompt", options.add_generation_prompt);
        for (const auto& [name, value] : options.names.members()) names.set(name, value);
        return template_.render(names, options.now);
    }

private:
    static ChatTemplate load_gguf(const std::string& path) {
        const MappedFile file(path);
        return detail::with_place(path, [&] {
            const GgufMetadata metadata(
                {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
            const GgufValue* const source = metadata.find("tokenizer.chat_template");
            if (!source || !source->is_text() || source->count != 1)
                throw Error("tokenizer.chat_template: expected a chat template, got none");
            const GgufValue* const list = metadata.find("tokenizer.ggml.tokens");
            const std::vector<std::string_view> tokens =
                list ? list->texts() : std::vector<std::string_view>();
            jinja::Map special_tokens;
            for (const auto& [name, key] : {std::pair("bos_token", "bos"),
                                            {"eos_token", "eos"},
                                            {"unk_token", "unknown"},
                                            {"pad_token", "padding"}}) {
                const GgufValue* const value =
                    metadata.find("tokenizer.ggml." + std::string(key) + "_token_id");
                const std::vector<std::int64_t> ids = value ? value->integers() : std::vector<std::int64_t>();
                if (!ids.empty() && ids[0] >= 0 && static_cast<std::uint64_t>(ids[0]) < tokens.size())
                    special_tokens.set(name, std::string(tokens[static_cast<std::size_t>(ids[0])]));
            }
            return ChatTemplate(source->texts()[0], std::move(special_tokens));
        });
    }

    /// Every member whose name ends in "_token" and that is a text or has one.
    static jinja::Map special_tokens_of(const Json& config) {
        jinja::Map tokens;
        for (const Json member : config.members()) {
            if (!member.key().ends_with("_token")) continue;
            const std::optional<Json> content = member.find("content");
            if (member.is(JsonKind::text)) tokens.set(member.key(), member.text());
            if (content && content->is(JsonKind::text)) tokens.set(member.key(), content->text());
        }
        return tokens;
    }

    static std::optional<std::string> source_of(const Json& given) {
        if (!given.is(JsonKind::array)) return std::string(given.text());
        std::optional<std::string> source;
        for (const Json one : given.elements())
            if (!source || one.at("name").text() == "default")
                source = std::string(one.at("template").text());
        return source;
    }

    jinja::Template template_;
    jinja::Map special_tokens_;
};

}  // namespace tenon
