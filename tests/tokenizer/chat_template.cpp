#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tenon/io/atomic_file.hpp>
#include <tenon/tokenizer/chat_template.hpp>

#include "../gguf_file.hpp"
#include "../io/temporary_folder.hpp"

using namespace tenon;

namespace {

constexpr std::string_view chat_ml =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

}  // namespace

TEST_CASE("a conversation becomes text") {
    const ChatTemplate chat(chat_ml);
    const std::vector<ChatMessage> messages = {{"system", "Be brief."}, {"user", "Hi"}};
    CHECK(chat.apply(messages) ==
          "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    ChatOptions options;
    options.add_generation_prompt = false;
    CHECK(chat.apply(messages, options).ends_with("Hi<|im_end|>\n"));
}

TEST_CASE("a template sees special tokens, further names and the date") {
    const ChatTemplate chat("{{ bos_token }}{{ tools | length }}{{ strftime_now('%Y') }}",
                            {{"bos_token", "<s>"}});
    ChatOptions options;
    options.names = {{"tools", jinja::List{"a", "b"}}};
    options.now = 1'000'000'000;
    CHECK(chat.apply(std::vector<ChatMessage>{}, options) == "<s>22001");
}

TEST_CASE("the template of a checkpoint's folder") {
    const TemporaryFolder folder;
    const std::string config = folder.path() + "/tokenizer_config.json";
    CHECK_THROWS_AS(ChatTemplate::load(folder.path()), FileError);
    write_file(
        config,
        R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": "{{ bos_token }}a{{ eos_token }}"})");
    CHECK(ChatTemplate::load(folder.path()).apply(std::vector<ChatMessage>{}) == "<s>a</s>");
    write_file(
        config,
        R"({"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]})");
    CHECK(ChatTemplate::load(folder.path()).apply(std::vector<ChatMessage>{}) == "d");
    write_file(folder.path() + "/chat_template.jinja", "file");
    CHECK(ChatTemplate::load(folder.path()).apply(std::vector<ChatMessage>{}) == "file");
}

TEST_CASE("the template of a GGUF file") {
    const TemporaryFolder folder;
    const std::string path = folder.path() + "/m.gguf";
    support::GgufFile file;
    file.texts("tokenizer.ggml.tokens", {"<s>", "</s>"}).integer("tokenizer.ggml.eos_token_id", 1);
    file.integer("tokenizer.ggml.bos_token_id", 7);  // none there is
    write_file(path, file.bytes());
    CHECK_THROWS_AS(ChatTemplate::load(path), FileError);
    write_file(path, file.text("tokenizer.chat_template", "{{ bos_token }}a{{ eos_token }}").bytes());
    CHECK(ChatTemplate::load(path).apply(std::vector<ChatMessage>{}) == "a</s>");
}
