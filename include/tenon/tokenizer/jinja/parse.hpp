#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "tenon/tokenizer/jinja/parse_expression.hpp"

namespace tenon::jinja {

/// Parses a template into a block of statements. Throws Error with the line of what is wrong.
class Parser : ExpressionParser {
public:
    explicit Parser(std::string_view source) : ExpressionParser(source) {}

    NodePointer parse() {
        NodePointer block = parse_block({});
        if (!at(TokenKind::end)) unexpected("a statement");
        return block;
    }

private:
    /// Statements up to a block that begins with one of these names, which is left unread after its "{%".
    NodePointer parse_block(std::initializer_list<std::string_view> ends) {
        const Deeper deeper(*this);
        NodePointer block = node(NodeKind::block);
        for (;;) {
            if (at(TokenKind::text)) {
                adopt(*block, node(NodeKind::output, token().text));
                ++at_;
            } else if (at(TokenKind::open_print)) {
                ++at_;
                const int line = token().line;
                adopt(*block, node_of(NodeKind::print, line, {}, parse_tuple()));
                if (!at(TokenKind::close_print)) unexpected("\"}}\"");
                ++at_;
            } else if (at(TokenKind::open_block)) {
                ++at_;
                if (at(TokenKind::name) && std::find(ends.begin(), ends.end(), token().text) != ends.end())
                    return block;
                adopt(*block, parse_statement());
            } else {
                if (ends.size() > 0) unexpected("\"{% " + std::string(*(ends.end() - 1)) + " %}\"");
                return block;
            }
        }
    }

    /// Reads "name %}" of what ends a block.
    void end_block(std::string_view name) {
        if (!take_name(name)) unexpected("\"" + std::string(name) + "\"");
        expect_block_end();
    }

    NodePointer parse_statement() {
        const int line = token().line;
        if (take_name("if")) return parse_branch(line);
        if (take_name("for")) return parse_loop(line);
        if (take_name("set")) return parse_set(line);
        if (take_name("macro")) return parse_macro(line);
        if (take_name("call")) return parse_call_block(line);
        if (take_name("filter")) return parse_filter_block(line);
        if (take_name("break") || take_name("continue")) {
            const bool breaks = tokens_[at_ - 1].text == "break";
            expect_block_end();
            if (loops_ == 0)
                fail(line, "expected a loop around \"" + std::string(breaks ? "break" : "continue") +
                               "\", got none");
            return node_of(breaks ? NodeKind::break_loop : NodeKind::continue_loop, line, {});
        }
        if (take_name("generation")) {  // marks what an assistant wrote; it renders as it stands
            expect_block_end();
            NodePointer block = parse_block({"endgeneration"});
            end_block("endgeneration");
            return block;
        }
        unexpected("a statement (if, for, set, macro, call, filter, generation, break, continue)");
    }

    NodePointer parse_branch(int line) {
        NodePointer branch = node_of(NodeKind::branch, line, {});
        adopt(*branch, parse_expression());
        expect_block_end();
        for (;;) {
            adopt(*branch, parse_block({"elif", "else", "endif"}));
            if (take_name("elif")) {
                adopt(*branch, parse_expression());
                expect_block_end();
                continue;
            }
            if (take_name("else")) {
                expect_block_end();
                adopt(*branch, parse_block({"endif"}));
            } else {
                adopt(*branch, nullptr);
            }
            end_block("endif");
            return branch;
        }
    }

    NodePointer parse_loop(int line) {
        NodePointer target = parse_target();
        if (!take_name("in")) unexpected("\"in\"");
        NodePointer sequence = parse_tuple(false), condition, otherwise;
        if (take_name("if")) condition = parse_expression();
        if (at_name("recursive")) unexpected("\"%}\" (recursive loops are not supported)");
        expect_block_end();
        ++loops_;
        NodePointer body = parse_block({"else", "endfor"});
        --loops_;
        if (take_name("else")) {
            expect_block_end();
            otherwise = parse_block({"endfor"});
        }
        end_block("endfor");
        return node_of(NodeKind::loop, line, {}, std::move(target), std::move(sequence), std::move(condition),
                       std::move(body), std::move(otherwise));
    }

    /// A name, an attribute of one, or several names.
    NodePointer parse_target() {
        const int line = token().line;
        const bool has_brackets = take_symbol("(");
        NodePointer first = node(NodeKind::name, expect_name());
        if (take_symbol(".")) return node_of(NodeKind::attribute, line, expect_name(), std::move(first));
        if (!has_brackets && !at_symbol(",")) return first;
        NodePointer names = node_of(NodeKind::list, line, {}, std::move(first));
        while (take_symbol(",")) {
            if (!at(TokenKind::name)) break;
            NodePointer name = node(NodeKind::name, token().text);
            ++at_;
            adopt(*names, std::move(name));
        }
        if (has_brackets) expect_symbol(")");
        return names;
    }

    NodePointer parse_set(int line) {
        NodePointer target = parse_target();
        if (take_symbol("=")) {
            NodePointer value = parse_tuple();
            expect_block_end();
            return node_of(NodeKind::set, line, {}, std::move(target), std::move(value));
        }
        NodePointer filter;
        if (at_symbol("|")) filter = parse_filters(node_of(NodeKind::constant, line, {}));
        expect_block_end();
        NodePointer body = parse_block({"endset"});
        end_block("endset");
        return node_of(NodeKind::set_block, line, {}, std::move(target), std::move(body), std::move(filter));
    }

    void parse_parameters(Node& macro) {
        expect_symbol("(");
        while (!take_symbol(")")) {
            const int line = token().line;
            std::string name = expect_name();
            NodePointer preset;
            if (take_symbol("=")) preset = parse_expression();
            adopt(macro, node_of(NodeKind::parameter, line, std::move(name), std::move(preset)));
            if (!take_symbol(",") && !at_symbol(")")) unexpected("\",\" or \")\"");
        }
    }

    NodePointer parse_macro_body(NodePointer macro, std::string_view end) {
        const int loops = std::exchange(loops_, 0);
        adopt(*macro, parse_block({end}));
        loops_ = loops;
        end_block(end);
        return macro;
    }

    NodePointer parse_macro(int line) {
        NodePointer macro = node_of(NodeKind::macro, line, expect_name());
        parse_parameters(*macro);
        expect_block_end();
        return parse_macro_body(std::move(macro), "endmacro");
    }

    NodePointer parse_call_block(int line) {
        NodePointer macro = node_of(NodeKind::macro, line, "caller");
        if (at_symbol("(")) parse_parameters(*macro);
        NodePointer call = parse_expression();
        if (call->kind != NodeKind::call) fail(line, "expected a call of a macro, got another expression");
        expect_block_end();
        macro = parse_macro_body(std::move(macro), "endcall");
        return node_of(NodeKind::call_block, line, {}, std::move(call), std::move(macro));
    }

    NodePointer parse_filter_block(int line) {
        NodePointer filter = parse_filter(node_of(NodeKind::constant, line, {}));
        if (at_symbol("|")) filter = parse_filters(std::move(filter));
        expect_block_end();
        NodePointer body = parse_block({"endfilter"});
        end_block("endfilter");
        return node_of(NodeKind::filter_block, line, {}, std::move(filter), std::move(body));
    }

    int loops_ = 0;  // around what is parsed
};

}  // namespace tenon::jinja
