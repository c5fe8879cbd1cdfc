#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/tokenizer/jinja/value.hpp"
#include "tenon/tokenizer/unicode.hpp"

namespace tenon::jinja {

/// Throws the Error for a template, at a line of it.
[[noreturn]] inline void fail(int line, const std::string& problem) {
    throw Error("template, line " + std::to_string(line) + ": " + problem);
}

/// What a node is. In brackets, its children.
enum class NodeKind : std::uint8_t {
    // Expressions.
    constant,
    name,
    list,       // [element...]
    map,        // [key, value, key, value...]
    attribute,  // text: the name; [object]
    item,       // [object, index]
    slice,      // [object, begin, end, step]; those left out are null
    call,       // [function, argument...]; text of an argument node: its name, if it has one
    argument,   // [value]
    filter,     // text: the name; [value, argument...]
    test,       // text: the name; [value, argument...]
    unary,      // text: the operator; [operand]
    binary,     // text: the operator; [left, right]
    condition,  // [value if true, condition, value if not or null]
    // Statements.
    output,        // text as it stands
    print,         // [value]
    block,         // [statement...]
    set,           // [target, value]; targets are a name, an attribute or a list of names
    set_block,     // [target, block, filter or null]; the block's text is the value
    branch,        // [condition, block, condition, block..., block of else or null]
    loop,          // [target, sequence, condition or null, block, block of else or null]
    macro,         // text: the name; [parameter..., block]
    parameter,     // text: the name; [default or null]
    call_block,    // [call, macro]; the macro is what the called one's caller() runs
    filter_block,  // [filter, block]; the filter's value is empty
    break_loop,
    continue_loop
};

struct Node;
using NodePointer = std::unique_ptr<Node>;

/// A node of a parsed template.
struct Node {
    NodeKind kind;
    int line;
    std::string text{};
    Value value{};  // a constant's
    std::vector<NodePointer> children{};
    int depth = 1;  // of the tree below it
};

/// Gives a node a child, which may be null. Trees are at most 1,000 levels deep: what walks them recurses.
inline void adopt(Node& parent, NodePointer child) {
    if (child && child->depth >= parent.depth) parent.depth = child->depth + 1;
    if (parent.depth > 1000) fail(parent.line, "expected expressions of at most 1000 levels, got more");
    parent.children.push_back(std::move(child));
}

enum class TokenKind : std::uint8_t {
    text,
    open_print,
    close_print,
    open_block,
    close_block,
    name,
    string,
    number,
    symbol,
    end
};

struct Token {
    TokenKind kind;
    int line;
    std::string text;
    Value value{};
};

/// Cuts a template into tokens (Jinja 3's syntax). As Hugging Face renders chat templates, the newline after
/// a block and the blanks before it on its line are dropped ("trim_blocks", "lstrip_blocks").
class Lexer {
public:
    explicit Lexer(std::string_view source) {
        for (std::size_t i = 0; i < source.size(); ++i) {
            if (source[i] == '\r') {
                source_ += '\n';
                if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
            } else {
                source_ += source[i];
            }
        }
        if (!source_.empty() && source_.back() == '\n') source_.pop_back();
    }

    std::vector<Token> read() {
        while (at_ < source_.size()) read_text();
        tokens_.push_back({TokenKind::end, line_, "the end of the template"});
        return std::move(tokens_);
    }

private:
    bool starts(std::string_view text) const { return source_.compare(at_, text.size(), text) == 0; }

    void advance(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) line_ += source_[at_ + i] == '\n';
        at_ += count;
    }

    static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

    void skip_space() {
        while (at_ < source_.size() && is_space(source_[at_])) advance(1);
    }

    /// Text up to the next mark, and what the mark opens.
    void read_text() {
        const std::size_t begin = at_;
        std::size_t mark = source_.find('{', at_);
        while (mark != std::string::npos && source_.find_first_of("{%#", mark + 1) != mark + 1)
            mark = source_.find('{', mark + 1);
        if (mark == std::string::npos) mark = source_.size();
        std::string text = source_.substr(begin, mark - begin);
        const int line = line_;
        advance(mark - begin);
        if (trims_) {
            text.erase(0, text.find_first_not_of(" \t\n\v\f\r"));
        } else if (drops_newline_ && !text.empty() && text[0] == '\n') {
            text.erase(0, 1);
        }
        const bool was_line_start = begin == 0 || source_[begin - 1] == '\n';
        trims_ = drops_newline_ = false;
        if (at_ == source_.size()) return add_text(std::move(text), line);

        const char kind = source_[at_ + 1], sign = at_ + 2 < source_.size() ? source_[at_ + 2] : ' ';
        if (sign == '-') {
            const std::size_t last = text.find_last_not_of(" \t\n\v\f\r");
            text.erase(last == std::string::npos ? 0 : last + 1);
        } else if (sign != '+' && kind != '{') {
            const std::size_t last = text.find_last_not_of(" \t");
            const std::size_t size = last == std::string::npos ? 0 : last + 1;
            // Blanks reach back to the start of a line: of this text, or of the source before it.
            const bool starts_line = size > 0                      ? text[size - 1] == '\n'
                                     : mark - begin == text.size() ? was_line_start
                                                                   : ends_line(begin, mark);
            if (starts_line) text.erase(size);
        }
        add_text(std::move(text), line);
        const std::size_t sign_size = sign == '-' || (sign == '+' && kind != '{') ? 1 : 0;
        if (kind == '#') return read_comment();
        advance(2 + sign_size);
        if (kind == '%' && is_raw()) return read_raw();
        tokens_.push_back(
            {kind == '{' ? TokenKind::open_print : TokenKind::open_block, line_, kind == '{' ? "{{" : "{%"});
        read_expression(kind == '{' ? "}}" : "%}",
                        kind == '{' ? TokenKind::close_print : TokenKind::close_block);
    }

    /// Whether only blanks lie between the last newline in [begin, end) and its end.
    bool ends_line(std::size_t begin, std::size_t end) const {
        while (end > begin && (source_[end - 1] == ' ' || source_[end - 1] == '\t')) --end;
        return end > begin && source_[end - 1] == '\n';
    }

    void add_text(std::string text, int line) {
        if (!text.empty()) tokens_.push_back({TokenKind::text, line, std::move(text)});
    }

    void read_comment() {
        const std::size_t end = source_.find("#}", at_ + 2);
        if (end == std::string::npos)
            fail(line_, "expected \"#}\" after \"{#\", got the end of the template");
        trims_ = source_[end - 1] == '-';
        drops_newline_ = !trims_ && source_[end - 1] != '+';
        advance(end + 2 - at_);
    }

    bool is_raw() const {
        std::size_t at = at_;
        while (at < source_.size() && is_space(source_[at])) ++at;
        if (source_.compare(at, 3, "raw") != 0) return false;
        at += 3;
        while (at < source_.size() && (is_space(source_[at]) || source_[at] == '-' || source_[at] == '+'))
            ++at;
        return source_.compare(at, 2, "%}") == 0;
    }

    void read_raw() {
        const int line = line_;
        const std::size_t opened = source_.find("%}", at_);
        bool trims = source_[opened - 1] == '-';
        advance(opened + 2 - at_);
        if (trims) skip_space();
        for (std::size_t mark = source_.find("{%", at_); mark != std::string::npos;
             mark = source_.find("{%", mark + 1)) {
            std::size_t at = mark + 2;
            const bool trims_before = at < source_.size() && source_[at] == '-';
            while (at < source_.size() && (is_space(source_[at]) || source_[at] == '-')) ++at;
            if (source_.compare(at, 6, "endraw") != 0) continue;
            const std::size_t end = source_.find("%}", at);
            if (end == std::string::npos) break;
            std::string text = source_.substr(at_, mark - at_);
            if (trims_before) {
                text.erase(text.find_last_not_of(" \t\n\v\f\r") + 1);
            } else if (ends_line(at_, mark)) {
                text.erase(text.find_last_not_of(" \t") + 1);
            }
            add_text(std::move(text), line_);
            trims_ = source_[end - 1] == '-';
            drops_newline_ = !trims_;
            return advance(end + 2 - at_);
        }
        fail(line, "expected \"{% endraw %}\" after \"{% raw %}\", got the end of the template");
    }

    void read_expression(std::string_view close, TokenKind close_kind) {
        std::string open;  // brackets, which may hold what would close
        for (;;) {
            skip_space();
            if (at_ >= source_.size())
                fail(line_, "expected \"" + std::string(close) + "\", got the end of the template");
            if (open.empty()) {
                const bool trims = source_[at_] == '-';
                const bool keeps = source_[at_] == '+' && close == "%}";
                if ((trims || keeps) && source_.compare(at_ + 1, 2, close) == 0) advance(1);
                if (starts(close)) {
                    tokens_.push_back({close_kind, line_, std::string(close)});
                    advance(2);
                    trims_ = trims;
                    drops_newline_ = !trims && !keeps && close == "%}";
                    return;
                }
            }
            read_token(open);
        }
    }

    static bool begins_name(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
               static_cast<signed char>(c) < 0;
    }
    static bool is_digit(char c) { return c >= '0' && c <= '9'; }

    void read_token(std::string& open) {
        const char c = source_[at_];
        const int line = line_;
        if (begins_name(c)) {
            std::size_t end = at_;
            while (end < source_.size() && (begins_name(source_[end]) || is_digit(source_[end]))) ++end;
            tokens_.push_back({TokenKind::name, line, source_.substr(at_, end - at_)});
            return advance(end - at_);
        }
        if (is_digit(c)) return read_number();
        if (c == '"' || c == '\'') return read_string();
        for (const std::string_view symbol : {"==", "!=", "<=", ">=", "//", "**"}) {
            if (!starts(symbol)) continue;
            tokens_.push_back({TokenKind::symbol, line, std::string(symbol)});
            return advance(2);
        }
        if (std::string_view("+-*/%~<>=.,:|()[]{}").find(c) == std::string_view::npos)
            fail(line, std::string("expected an expression, got '") + c + "'");
        if (c == '(' || c == '[' || c == '{') open += c;
        if (c == ')' || c == ']' || c == '}') {
            const char opening = c == ')' ? '(' : c == ']' ? '[' : '{';
            if (open.empty() || open.back() != opening)
                fail(line, std::string("expected an opening bracket before '") + c + "', got none");
            open.pop_back();
        }
        tokens_.push_back({TokenKind::symbol, line, std::string(1, c)});
        advance(1);
    }

    void read_number() {
        std::size_t end = at_;
        std::string digits;
        const auto take = [&] {
            while (end < source_.size() && (is_digit(source_[end]) || source_[end] == '_')) {
                if (source_[end] != '_') digits += source_[end];
                ++end;
            }
        };
        take();
        bool is_real = false;
        if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
            is_real = true;
            digits += '.';
            ++end;
            take();
        }
        if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
            const std::size_t sign =
                end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-');
            if (end + 1 + sign < source_.size() && is_digit(source_[end + 1 + sign])) {
                is_real = true;
                digits += source_.substr(end, 1 + sign);
                end += 1 + sign;
                take();
            }
        }
        double real = 0;
        std::int64_t integer = 0;
        const char *first = digits.data(), *last = first + digits.size();
        const bool is_read = is_real ? std::from_chars(first, last, real).ec == std::errc()
                                     : std::from_chars(first, last, integer).ec == std::errc();
        if (!is_read) fail(line_, "expected a number that fits 64 bits, got " + digits);
        tokens_.push_back({TokenKind::number, line_, digits, is_real ? Value(real) : Value(integer)});
        advance(end - at_);
    }

    void read_string() {
        const char quote = source_[at_];
        std::string text;
        std::size_t end = at_ + 1;
        const auto read_code = [&](std::size_t digits) {
            unsigned code = 0;
            const char* first = source_.data() + end + 1;
            if (end + 1 + digits > source_.size() ||
                std::from_chars(first, first + digits, code, 16).ptr != first + digits)
                fail(line_, "expected " + std::to_string(digits) + " hexadecimal digits after \"\\" +
                                source_[end] + "\"");
            if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
                fail(line_, "expected a character, got its number " + std::to_string(code));
            end += digits;
            append_utf8(text, code);
        };
        for (; end < source_.size() && source_[end] != quote; ++end) {
            if (source_[end] != '\\' || end + 1 == source_.size()) {
                text += source_[end];
                continue;
            }
            switch (source_[++end]) {
                case 'n':
                    text += '\n';
                    break;
                case 't':
                    text += '\t';
                    break;
                case 'r':
                    text += '\r';
                    break;
                case 'a':
                    text += '\a';
                    break;
                case 'b':
                    text += '\b';
                    break;
                case 'f':
                    text += '\f';
                    break;
                case 'v':
                    text += '\v';
                    break;
                case '0':
                    text += '\0';
                    break;
                case '\\':
                case '\'':
                case '"':
                    text += source_[end];
                    break;
                case '\n':
                    break;
                case 'x':
                    read_code(2);
                    break;
                case 'u':
                    read_code(4);
                    break;
                case 'U':
                    read_code(8);
                    break;
                default:
                    text += '\\';
                    text += source_[end];
            }
        }
        if (end >= source_.size())
            fail(line_, std::string("expected ") + quote + " to end a string, got the end of the template");
        tokens_.push_back({TokenKind::string, line_, text});
        advance(end + 1 - at_);
    }

    std::string source_;
    std::size_t at_ = 0;
    int line_ = 1;
    bool trims_ = false, drops_newline_ = false;
    std::vector<Token> tokens_;
};

}  // namespace tenon::jinja
