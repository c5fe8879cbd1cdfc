#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/jinja/syntax.hpp"

namespace tenon::jinja {

/// Parses expressions (Jinja 3's grammar and precedences).
class ExpressionParser {
protected:
    explicit ExpressionParser(std::string_view source) : tokens_(Lexer(source).read()) {}

    /// Expressions and statements may not nest deeper: the parser recurses, and so does what evaluates.
    static constexpr int maximum_depth = 200;

    struct Deeper {
        explicit Deeper(ExpressionParser& parser) : parser_(parser) {
            if (++parser_.depth_ > maximum_depth)
                fail(parser_.token().line, "expected nesting of at most 200 levels, got more");
        }
        ~Deeper() { --parser_.depth_; }
        ExpressionParser& parser_;
    };

    const Token& token() const { return tokens_[at_]; }
    bool at(TokenKind kind) const { return token().kind == kind; }
    bool at_symbol(std::string_view text) const { return at(TokenKind::symbol) && token().text == text; }
    bool at_name(std::string_view text) const { return at(TokenKind::name) && token().text == text; }
    bool take_symbol(std::string_view text) { return at_symbol(text) && (++at_, true); }
    bool take_name(std::string_view text) { return at_name(text) && (++at_, true); }

    [[noreturn]] void unexpected(const std::string& wanted) const {
        fail(token().line, "expected " + wanted + ", got \"" + token().text + "\"");
    }
    void expect_symbol(std::string_view text) {
        if (!take_symbol(text)) unexpected("\"" + std::string(text) + "\"");
    }
    std::string expect_name() {
        if (!at(TokenKind::name)) unexpected("a name");
        return tokens_[at_++].text;
    }
    void expect_block_end() {
        if (!at(TokenKind::close_block)) unexpected("\"%}\"");
        ++at_;
    }

    NodePointer node(NodeKind kind, std::string text = {}) const {
        return NodePointer(new Node{kind, token().line, std::move(text)});
    }
    template <class... Children>
    NodePointer node_of(NodeKind kind, int line, std::string text, Children... children) const {
        NodePointer made(new Node{kind, line, std::move(text)});
        (adopt(*made, std::move(children)), ...);
        return made;
    }

    // Expressions, from those that bind least on.

    /// An expression, or several with commas between them, which make a list.
    NodePointer parse_tuple(bool allows_condition = true) {
        const int line = token().line;
        NodePointer first = allows_condition ? parse_expression() : parse_or();
        if (!at_symbol(",")) return first;
        NodePointer list = node_of(NodeKind::list, line, {}, std::move(first));
        while (take_symbol(",")) {
            if (at(TokenKind::close_print) || at(TokenKind::close_block)) break;
            adopt(*list, allows_condition ? parse_expression() : parse_or());
        }
        return list;
    }

    NodePointer parse_expression() {
        const Deeper deeper(*this);
        NodePointer value = parse_or();
        while (at_name("if")) {
            const int line = token().line;
            ++at_;
            NodePointer condition = parse_or(), otherwise;
            if (take_name("else")) otherwise = parse_expression();
            value = node_of(NodeKind::condition, line, {}, std::move(value), std::move(condition),
                            std::move(otherwise));
        }
        return value;
    }

    NodePointer binary(int line, std::string_view name, NodePointer left, NodePointer right) {
        return node_of(NodeKind::binary, line, std::string(name), std::move(left), std::move(right));
    }

    NodePointer parse_or() {
        NodePointer left = parse_and();
        while (at_name("or")) {
            const int line = tokens_[at_++].line;
            left = binary(line, "or", std::move(left), parse_and());
        }
        return left;
    }

    NodePointer parse_and() {
        NodePointer left = parse_not();
        while (at_name("and")) {
            const int line = tokens_[at_++].line;
            left = binary(line, "and", std::move(left), parse_not());
        }
        return left;
    }

    NodePointer parse_not() {
        if (!at_name("not")) return parse_comparison();
        const Deeper deeper(*this);
        const int line = tokens_[at_++].line;
        return node_of(NodeKind::unary, line, "not", parse_not());
    }

    /// Comparisons in a row hold if each one does: a < b < c. The operands between are evaluated again, which
    /// shows nowhere.
    NodePointer parse_comparison() {
        NodePointer left = parse_sum(), all;
        for (;;) {
            const int line = token().line;
            std::string name;
            if (at(TokenKind::symbol)) {
                for (const std::string_view symbol : {"==", "!=", "<", ">", "<=", ">="})
                    if (token().text == symbol) name = symbol;
                at_ += !name.empty();
            } else if (take_name("in")) {
                name = "in";
            } else if (at_name("not") && tokens_[at_ + 1].kind == TokenKind::name &&
                       tokens_[at_ + 1].text == "in") {
                at_ += 2;
                name = "not in";
            }
            if (name.empty()) return all ? std::move(all) : std::move(left);
            const std::size_t right_begin = at_;
            NodePointer right = parse_sum();
            if (!all && !is_comparison_next()) return binary(line, name, std::move(left), std::move(right));
            const std::size_t after = at_;
            NodePointer one = binary(line, name, std::move(left), std::move(right));
            all = all ? binary(line, "and", std::move(all), std::move(one)) : std::move(one);
            at_ = right_begin;
            left = parse_sum();
            at_ = after;
        }
    }

    bool is_comparison_next() const {
        if (at(TokenKind::name))
            return token().text == "in" || (token().text == "not" && tokens_[at_ + 1].text == "in");
        const std::string& text = token().text;
        return at(TokenKind::symbol) &&
               (text == "==" || text == "!=" || text == "<" || text == ">" || text == "<=" || text == ">=");
    }

    template <class Next>
    NodePointer parse_left_to_right(std::initializer_list<std::string_view> symbols, Next next) {
        NodePointer left = (this->*next)();
        while (at(TokenKind::symbol) &&
               std::find(symbols.begin(), symbols.end(), token().text) != symbols.end()) {
            const Token& symbol = tokens_[at_++];
            left = binary(symbol.line, symbol.text, std::move(left), (this->*next)());
        }
        return left;
    }

    NodePointer parse_sum() {
        return parse_left_to_right({"+", "-"}, &ExpressionParser::parse_concatenation);
    }
    NodePointer parse_concatenation() { return parse_left_to_right({"~"}, &ExpressionParser::parse_product); }
    NodePointer parse_product() {
        return parse_left_to_right({"*", "/", "//", "%"}, &ExpressionParser::parse_power);
    }
    NodePointer parse_power() { return parse_left_to_right({"**"}, &ExpressionParser::parse_unary); }

    NodePointer parse_unary() { return parse_signed(true); }

    NodePointer parse_signed(bool with_filters) {
        const Deeper deeper(*this);
        const int line = token().line;
        NodePointer value;
        if (take_symbol("-")) {
            value = node_of(NodeKind::unary, line, "-", parse_signed(false));
        } else if (take_symbol("+")) {
            value = node_of(NodeKind::unary, line, "+", parse_signed(false));
        } else {
            value = parse_primary();
        }
        value = parse_postfix(std::move(value));
        return with_filters ? parse_filters(std::move(value)) : std::move(value);
    }

    NodePointer constant(int line, Value value) {
        NodePointer made = node_of(NodeKind::constant, line, {});
        made->value = std::move(value);
        return made;
    }

    NodePointer parse_primary() {
        const Token& first = token();
        const int line = first.line;
        if (at(TokenKind::name)) {
            ++at_;
            if (first.text == "true" || first.text == "True") return constant(line, true);
            if (first.text == "false" || first.text == "False") return constant(line, false);
            if (first.text == "none" || first.text == "None") return constant(line, Value());
            return node_of(NodeKind::name, line, first.text);
        }
        if (at(TokenKind::number)) {
            ++at_;
            return constant(line, first.value);
        }
        if (at(TokenKind::string)) {
            std::string text;
            while (at(TokenKind::string)) text += tokens_[at_++].text;
            return constant(line, std::move(text));
        }
        if (take_symbol("(")) {
            if (take_symbol(")")) return node_of(NodeKind::list, line, {});
            NodePointer value = parse_expression();
            if (at_symbol(",")) {
                NodePointer list = node_of(NodeKind::list, line, {}, std::move(value));
                while (take_symbol(","))
                    if (!at_symbol(")")) adopt(*list, parse_expression());
                value = std::move(list);
            }
            expect_symbol(")");
            return value;
        }
        if (take_symbol("[")) {
            NodePointer list = node_of(NodeKind::list, line, {});
            while (!take_symbol("]")) {
                adopt(*list, parse_expression());
                if (!take_symbol(",") && !at_symbol("]")) unexpected("\",\" or \"]\"");
            }
            return list;
        }
        if (take_symbol("{")) {
            NodePointer map = node_of(NodeKind::map, line, {});
            while (!take_symbol("}")) {
                adopt(*map, parse_expression());
                expect_symbol(":");
                adopt(*map, parse_expression());
                if (!take_symbol(",") && !at_symbol("}")) unexpected("\",\" or \"}\"");
            }
            return map;
        }
        unexpected("an expression");
    }

    NodePointer parse_postfix(NodePointer value) {
        for (;;) {
            const int line = token().line;
            if (take_symbol(".")) {
                if (at(TokenKind::number)) {
                    NodePointer index = constant(line, token().value);
                    ++at_;
                    value = node_of(NodeKind::item, line, {}, std::move(value), std::move(index));
                } else {
                    value = node_of(NodeKind::attribute, line, expect_name(), std::move(value));
                }
            } else if (take_symbol("[")) {
                value = parse_subscript(line, std::move(value));
            } else if (at_symbol("(")) {
                value = parse_call(line, std::move(value));
            } else {
                return value;
            }
        }
    }

    NodePointer parse_subscript(int line, NodePointer value) {
        NodePointer parts[3];
        std::size_t colons = 0;
        if (!at_symbol(":")) parts[0] = parse_expression();
        while (colons < 2 && take_symbol(":")) {
            ++colons;
            if (!at_symbol(":") && !at_symbol("]")) parts[colons] = parse_expression();
        }
        expect_symbol("]");
        if (colons == 0) return node_of(NodeKind::item, line, {}, std::move(value), std::move(parts[0]));
        return node_of(NodeKind::slice, line, {}, std::move(value), std::move(parts[0]), std::move(parts[1]),
                       std::move(parts[2]));
    }

    NodePointer parse_call(int line, NodePointer function) {
        NodePointer call = node_of(NodeKind::call, line, {}, std::move(function));
        parse_arguments(*call);
        return call;
    }

    void parse_arguments(Node& call) {
        expect_symbol("(");
        while (!take_symbol(")")) {
            const int line = token().line;
            std::string name;
            if (at(TokenKind::name) && tokens_[at_ + 1].kind == TokenKind::symbol &&
                tokens_[at_ + 1].text == "=") {
                name = expect_name();
                ++at_;
            }
            adopt(call, node_of(NodeKind::argument, line, std::move(name), parse_expression()));
            if (!take_symbol(",") && !at_symbol(")")) unexpected("\",\" or \")\"");
        }
    }

    NodePointer parse_filters(NodePointer value) {
        for (;;) {
            const int line = token().line;
            if (take_symbol("|")) {
                value = parse_filter(std::move(value));
            } else if (take_name("is")) {
                value = parse_test(line, std::move(value));
            } else if (at_symbol("(")) {
                value = parse_call(line, std::move(value));
            } else {
                return value;
            }
        }
    }

    NodePointer parse_filter(NodePointer value) {
        const int line = token().line;
        NodePointer filter = node_of(NodeKind::filter, line, expect_name(), std::move(value));
        if (at_symbol("(")) parse_arguments(*filter);
        return filter;
    }

    NodePointer parse_test(int line, NodePointer value) {
        const bool is_negated = take_name("not");
        NodePointer test = node_of(NodeKind::test, line, expect_name(), std::move(value));
        const bool ends = at_name("else") || at_name("or") || at_name("and") || at_name("if") ||
                          at_name("is") || at_name("in") || at_name("not");
        if (at_symbol("(")) {
            parse_arguments(*test);
        } else if (!ends && (at(TokenKind::name) || at(TokenKind::string) || at(TokenKind::number) ||
                             at_symbol("[") || at_symbol("{"))) {
            NodePointer argument = parse_postfix(parse_primary());
            adopt(*test, node_of(NodeKind::argument, line, {}, std::move(argument)));
        }
        return is_negated ? node_of(NodeKind::unary, line, "not", std::move(test)) : std::move(test);
    }

    std::vector<Token> tokens_;
    std::size_t at_ = 0;

private:
    int depth_ = 0;
};

}  // namespace tenon::jinja
