// A chat template of any bytes: it renders a conversation, or says what is wrong with it.
#include <string_view>
#include <vector>

#include <tenon/tokenizer/chat_template.hpp>

#include "target.hpp"

const fuzz::Target target("chat_template", [](const std::uint8_t* data, std::size_t size) {
    fuzz::expect_value_or_error([&] {
        const tenon::ChatTemplate chat(fuzz::text_of(data, size),
                                       {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
        const std::vector<tenon::ChatMessage> messages = {
            {"system", "Be brief."}, {"user", " Hello \n"}, {"assistant", "Hi!"}, {"user", "Bye"}};
        chat.apply(messages, {.now = 0});
    });
});
