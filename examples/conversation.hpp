#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <tenon/tokenizer/chat_template.hpp>
#include <tenon/tokenizer/stream.hpp>
#include <tenon/tokenizer/tokenizer.hpp>

#include "speaker.hpp"

/// What became of an answer.
struct Reply {
    std::string text;
    int read = 0, written = 0;  ///< tokens that were run before it, and its own
    double first_seconds = 0;   ///< from the question to the first token
    double seconds = 0;         ///< from the first token to the last
    bool is_full = false;       ///< the context had no room for more…
    bool has_no_room = false;   ///< …or not even for the question, which is forgotten
};

/// A conversation, kept in the model's cache.
class Conversation {
public:
    Conversation(tenon::Tokenizer tokenizer, tenon::ChatTemplate chat_template, Speaker& speaker,
                 std::vector<std::int32_t> ends, const std::string& system)
        : tokenizer_(std::move(tokenizer)),
          template_(std::move(chat_template)),
          speaker_(speaker),
          ends_(std::move(ends)) {
        if (!system.empty()) messages_.push_back({"system", system});
        first_ = messages_.size();
        add_end_of_turn();
    }

    /// Forgets all but the system's message.
    void begin_anew() { messages_.resize(first_); }
    bool has_begun() const { return messages_.size() > first_; }

    /// Answers: calls write(text) with whole characters, as they come, until the model ends, `most` tokens
    /// are written, or goes_on() does not hold.
    Reply answer(const std::string& question, int most, const std::function<void(const std::string&)>& write,
                 const std::function<bool()>& goes_on) {
        using Clock = std::chrono::steady_clock;
        const auto seconds_since = [](Clock::time_point start) {
            return std::chrono::duration<double>(Clock::now() - start).count();
        };
        const Clock::time_point start = Clock::now();
        Clock::time_point first = start;
        Reply reply;
        messages_.push_back({"user", question});
        const std::string prompt = template_.apply(messages_);
        std::vector<std::int32_t> ids = ids_after_last(prompt);
        if (ids.size() >= static_cast<std::size_t>(speaker_.capacity())) {
            messages_.pop_back();
            reply.is_full = reply.has_no_room = true;
            return reply;
        }
        const std::size_t before = common_with_last(ids);
        speaker_.follow(ids);
        reply.read = static_cast<int>(ids.size() - before);

        tenon::StreamDecoder decoder(tokenizer_, {.skip_special_tokens = true});
        const auto show = [&](const std::string& text) {
            reply.text += text;
            if (!text.empty()) write(text);
        };
        while (reply.written < most && goes_on()) {
            if (speaker_.tokens().size() == static_cast<std::size_t>(speaker_.capacity())) {
                reply.is_full = true;
                break;
            }
            const std::int32_t token = speaker_.next();
            if (reply.written++ == 0) {
                reply.first_seconds = seconds_since(start);
                first = Clock::now();
            }
            if (std::find(ends_.begin(), ends_.end(), token) != ends_.end()) break;
            ids.push_back(token);
            // A model's vocabulary may be larger than its tokenizer's.
            const auto id = static_cast<tenon::TokenId>(token);
            if (tokenizer_.has_token(id)) show(decoder.push(id));
        }
        show(decoder.flush());
        reply.seconds = seconds_since(first);
        messages_.push_back({"assistant", reply.text});
        last_text_ = prompt + reply.text;
        last_ids_ = std::move(ids);
        return reply;
    }

private:
    std::vector<std::int32_t> encode(const std::string& text) const {
        std::vector<std::int32_t> ids;
        for (const tenon::TokenId id : tokenizer_.encode_ids(text, {.add_special_tokens = false}))
            ids.push_back(static_cast<std::int32_t>(id));
        return ids;
    }

    std::size_t common_with_last(const std::vector<std::int32_t>& ids) const {
        const std::span<const std::int32_t> last = speaker_.tokens();
        return static_cast<std::size_t>(
            std::mismatch(ids.begin(), ids.end(), last.begin(), last.end()).first - ids.begin());
    }

    /// The tokens of a conversation. Those that the model wrote stay, though a text's own may be others,
    /// where a special token follows: it stands for itself beside whatever.
    std::vector<std::int32_t> ids_after_last(const std::string& prompt) const {
        std::vector<std::int32_t> whole = encode(prompt);
        if (last_ids_.empty() || !prompt.starts_with(last_text_)) return whole;
        if (common_with_last(whole) >= last_ids_.size()) return whole;
        const std::vector<std::int32_t> more = encode(prompt.substr(last_text_.size()));
        if (more.empty() || !tokenizer_.is_special(static_cast<tenon::TokenId>(more[0]))) return whole;
        std::vector<std::int32_t> ids = last_ids_;
        ids.insert(ids.end(), more.begin(), more.end());
        return ids;
    }

    /// Takes the special token that the template puts behind an answer for an end, too: files may name
    /// others.
    void add_end_of_turn() try {
        const std::string answer = "answer";
        const tenon::ChatMessage turn[] = {{"user", "question"}, {"assistant", answer}};
        const std::string text = template_.apply(std::span(turn), {.add_generation_prompt = false});
        const std::size_t place = text.rfind(answer);
        if (place == std::string::npos) return;
        const std::size_t end = text.find_first_not_of(" \n", place + answer.size());
        const std::vector<std::int32_t> ids = encode(text.substr(std::min(end, text.size())));
        if (!ids.empty() && tokenizer_.is_special(static_cast<tenon::TokenId>(ids[0])))
            ends_.push_back(ids[0]);
    } catch (const tenon::Error&) {  // a template may refuse such a conversation
    }

    tenon::Tokenizer tokenizer_;
    tenon::ChatTemplate template_;
    Speaker& speaker_;
    std::vector<std::int32_t> ends_;
    std::vector<tenon::ChatMessage> messages_;
    std::size_t first_ = 0;  // message after the system's
    std::string last_text_;  // of the conversation up to the last answer
    std::vector<std::int32_t> last_ids_;
};
