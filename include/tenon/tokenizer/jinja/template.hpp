#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/tokenizer/jinja/filters.hpp"
#include "tenon/tokenizer/jinja/parse.hpp"

namespace tenon::jinja {

/// Names and their values, and the names around.
struct Scope {
    Scope* around = nullptr;
    std::vector<Map::Member> names{};
    bool is_seen = false;  // by a macro, which may be called when the scope has ended

    Value* find_own(std::string_view name) {
        for (auto& [key, value] : names)
            if (key == name) return &value;
        return nullptr;
    }
    Value* find(std::string_view name) {
        for (Scope* scope = this; scope; scope = scope->around)
            if (Value* value = scope->find_own(name)) return value;
        return nullptr;
    }
    void set(std::string_view name, Value value) {
        if (Value* own = find_own(name))
            *own = std::move(value);
        else
            names.emplace_back(name, std::move(value));
    }
};

/// Runs a parsed template, appending to its output.
class Renderer {
public:
    std::string render(const Node& block, Scope& scope) {
        std::string text;
        run(block, scope, text);
        return text;
    }

private:
    enum class Flow { goes_on, breaks, continues };

    /// A scope within another; if a macro sees it, it lives as long as the renderer.
    class Inner {
    public:
        Inner(Renderer& renderer, Scope& around) : renderer_(renderer), scope_(new Scope{&around}) {}
        Inner(const Inner&) = delete;
        Inner& operator=(const Inner&) = delete;
        ~Inner() {
            if (scope_->is_seen) renderer_.seen_.push_back(std::move(scope_));
        }
        Scope& operator*() const { return *scope_; }
        Scope* operator->() const { return scope_.get(); }

    private:
        Renderer& renderer_;
        std::unique_ptr<Scope> scope_;
    };

    /// What a template may take: steps, the bytes that it writes, and macros within macros.
    static constexpr std::size_t maximum_steps = 2'000'000;
    static constexpr int maximum_calls = 100;

    /// Evaluates with the line in what is thrown.
    template <class Body>
    auto at_line(int line, Body&& body) -> decltype(body()) {
        try {
            return body();
        } catch (const Error& error) {
            if (std::string_view(error.what()).starts_with("template, line ")) throw;
            fail(line, error.what());
        }
    }

    void step(int line, const std::string& text = {}) {
        if (++steps_ > maximum_steps) fail(line, "expected a template of at most 2,000,000 steps, got more");
        if (text.size() > maximum_size)
            fail(line, "expected a text of at most " + std::to_string(maximum_size) + " bytes, got more");
    }

    /// Long texts and lists take steps in proportion.
    const Value& charged(const Value& value) {
        if (value.is_text()) steps_ += value.text()->size() / 64;
        if (value.list()) steps_ += value.list()->size() / 8;
        if (value.map()) steps_ += value.map()->members().size() / 4;
        return value;
    }

    Flow run(const Node& node, Scope& scope, std::string& to) {
        step(node.line, to);
        switch (node.kind) {
            case NodeKind::output:
                to += node.text;
                return Flow::goes_on;
            case NodeKind::print:
                append_value(to, evaluate(*node.children[0], scope));
                return Flow::goes_on;
            case NodeKind::block:
                for (const NodePointer& child : node.children) {
                    const Flow flow = run(*child, scope, to);
                    if (flow != Flow::goes_on) return flow;
                }
                return Flow::goes_on;
            case NodeKind::set:
                assign(*node.children[0], evaluate(*node.children[1], scope), scope);
                return Flow::goes_on;
            case NodeKind::set_block: {
                const Inner inner(*this, scope);
                Value value = render(*node.children[1], *inner);
                if (node.children[2]) value = filter(*node.children[2], scope, &value);
                assign(*node.children[0], std::move(value), scope);
                return Flow::goes_on;
            }
            case NodeKind::filter_block: {
                const Inner inner(*this, scope);
                const Value value = render(*node.children[1], *inner);
                append_value(to, filter(*node.children[0], scope, &value));
                return Flow::goes_on;
            }
            case NodeKind::branch:
                return run_branch(node, scope, to);
            case NodeKind::loop:
                return run_loop(node, scope, to);
            case NodeKind::macro:
                scope.set(node.text, macro(node, scope));
                return Flow::goes_on;
            case NodeKind::call_block: {
                Arguments arguments = arguments_of(*node.children[0], scope);
                arguments.named.emplace_back("caller", macro(*node.children[1], scope));
                append_value(to, call(*node.children[0], arguments, scope));
                return Flow::goes_on;
            }
            case NodeKind::break_loop:
                return Flow::breaks;
            case NodeKind::continue_loop:
                return Flow::continues;
            default:
                fail(node.line, "expected a statement, got an expression");
        }
    }

    Flow run_branch(const Node& node, Scope& scope, std::string& to) {
        for (std::size_t i = 0; i + 1 < node.children.size(); i += 2)
            if (evaluate(*node.children[i], scope).is_true()) return run(*node.children[i + 1], scope, to);
        return node.children.back() ? run(*node.children.back(), scope, to) : Flow::goes_on;
    }

    Flow run_loop(const Node& node, Scope& scope, std::string& to) {
        const Node& target = *node.children[0];
        const Value sequence = evaluate(*node.children[1], scope);
        List all = at_line(node.line, [&] { return elements_of(sequence); });
        if (const Node* condition = node.children[2].get()) {
            List kept;
            for (Value& one : all) {
                const Inner inner(*this, scope);
                assign(target, one, *inner);
                if (evaluate(*condition, *inner).is_true()) kept.push_back(std::move(one));
            }
            all = std::move(kept);
        }
        if (all.empty()) return node.children[4] ? run(*node.children[4], scope, to) : Flow::goes_on;
        std::shared_ptr<Value> changed = std::make_shared<Value>(Value::Undefined{});
        for (std::size_t i = 0; i < all.size(); ++i) {
            steps_ += 10;  // for what tells the loop's place
            const Inner inner(*this, scope);
            assign(target, all[i], *inner);
            if (!inner->find_own("loop")) inner->set("loop", loop_at(all, i, changed));
            if (run(*node.children[3], *inner, to) == Flow::breaks) break;
        }
        return Flow::goes_on;
    }

    static Value loop_at(const List& all, std::size_t i, const std::shared_ptr<Value>& changed) {
        const auto function = [](auto call) {
            return Value(std::make_shared<const Function>(Function{std::move(call)}));
        };
        return Map{{"index0", i},
                   {"index", i + 1},
                   {"revindex0", all.size() - i - 1},
                   {"revindex", all.size() - i},
                   {"first", i == 0},
                   {"last", i + 1 == all.size()},
                   {"length", all.size()},
                   {"previtem", i > 0 ? all[i - 1] : Value(Value::Undefined{"previtem"})},
                   {"nextitem", i + 1 < all.size() ? all[i + 1] : Value(Value::Undefined{"nextitem"})},
                   {"cycle", function([i](const Arguments& a) {
                        if (a.size() == 0) throw Error("expected values to cycle through, got none");
                        return a.values[i % a.size()];
                    })},
                   {"changed", function([changed](const Arguments& a) {
                        Value now{List(a.values)};
                        const bool differs = !(now == *changed);
                        *changed = std::move(now);
                        return Value(differs);
                    })}};
    }

    void assign(const Node& target, Value value, Scope& scope) {
        if (target.kind == NodeKind::name) return scope.set(target.text, std::move(value));
        if (target.kind == NodeKind::attribute) {
            const Value owner = evaluate(*target.children[0], scope);
            const auto* names = owner.as<Value::Namespace>();
            if (!names)
                fail(target.line, "expected a namespace before \"." + target.text + " =\", got " +
                                      std::string(owner.kind()));
            // One that held itself would never end.
            if (value.has_namespace()) fail(target.line, "expected a value without namespaces, got one with");
            return names->members->set(target.text, std::move(value));
        }
        const List parts = at_line(target.line, [&] { return elements_of(value); });
        if (parts.size() != target.children.size())
            fail(target.line, "expected " + std::to_string(target.children.size()) +
                                  " values to unpack, got " + std::to_string(parts.size()));
        for (std::size_t i = 0; i < parts.size(); ++i) assign(*target.children[i], parts[i], scope);
    }

    /// A macro as a function; it sees the names around it as they are when it is called.
    Value macro(const Node& node, Scope& scope) {
        for (Scope* seen = &scope; seen && !seen->is_seen; seen = seen->around) seen->is_seen = true;
        return std::make_shared<const Function>(Function{[this, &node, &scope](const Arguments& arguments) {
            if (++calls_ > maximum_calls) fail(node.line, "expected macros at most 100 deep, got more");
            const Inner inner(*this, scope);
            const std::size_t count = node.children.size() - 1;
            if (arguments.size() > count)
                fail(node.line, "expected at most " + std::to_string(count) + " arguments of \"" + node.text +
                                    "\", got " + std::to_string(arguments.size()));
            for (std::size_t i = 0; i < count; ++i) {
                const Node& parameter = *node.children[i];
                if (arguments.has(i, parameter.text))
                    inner->set(parameter.text, arguments.get(i, parameter.text));
                else if (parameter.children[0])
                    inner->set(parameter.text, evaluate(*parameter.children[0], *inner));
                else
                    inner->set(parameter.text, Value::Undefined{parameter.text});
            }
            for (const auto& [key, value] : arguments.named)
                if (key == "caller") inner->set(key, value);
            const std::string text = render(*node.children.back(), *inner);
            --calls_;
            return Value(text);
        }});
    }

    // Expressions.

    Value evaluate(const Node& node, Scope& scope) {
        step(node.line);
        switch (node.kind) {
            case NodeKind::constant:
                return node.value;
            case NodeKind::name: {
                const Value* found = scope.find(node.text);
                return found ? charged(*found) : Value(Value::Undefined{node.text});
            }
            case NodeKind::list: {
                List list;
                for (const NodePointer& child : node.children) list.push_back(evaluate(*child, scope));
                return list;
            }
            case NodeKind::map: {
                Map map;
                for (std::size_t i = 0; i < node.children.size(); i += 2)
                    map.set(to_text(evaluate(*node.children[i], scope)),
                            evaluate(*node.children[i + 1], scope));
                return map;
            }
            case NodeKind::attribute: {
                const Value owner = evaluate(*node.children[0], scope);
                return at_line(node.line, [&] { return attribute_of(owner, node.text); });
            }
            case NodeKind::item: {
                const Value owner = evaluate(*node.children[0], scope),
                            index = evaluate(*node.children[1], scope);
                return at_line(node.line, [&] {
                    Value item = item_of(owner, index);
                    return item.is_undefined() && index.is_text() ? attribute_of(owner, *index.text()) : item;
                });
            }
            case NodeKind::slice: {
                const Value owner = evaluate(*node.children[0], scope);
                Value bounds[3];
                for (std::size_t i = 0; i < 3; ++i)
                    if (node.children[i + 1]) bounds[i] = evaluate(*node.children[i + 1], scope);
                return at_line(node.line, [&] { return slice_of(owner, bounds[0], bounds[1], bounds[2]); });
            }
            case NodeKind::call:
                return call(node, arguments_of(node, scope), scope);
            case NodeKind::filter:
                return filter(node, scope, nullptr);
            case NodeKind::test: {
                const Value value = evaluate(*node.children[0], scope);
                const Arguments arguments = arguments_of(node, scope);
                const std::optional<bool> holds =
                    at_line(node.line, [&] { return apply_test(node.text, value, arguments); });
                if (!holds) fail(node.line, "expected a test that is known, got \"" + node.text + "\"");
                return *holds;
            }
            case NodeKind::unary:
                return unary(node, evaluate(*node.children[0], scope));
            case NodeKind::binary:
                return binary(node, scope);
            case NodeKind::condition:
                if (evaluate(*node.children[1], scope).is_true()) return evaluate(*node.children[0], scope);
                return node.children[2] ? evaluate(*node.children[2], scope) : Value(Value::Undefined{});
            default:
                fail(node.line, "expected an expression, got a statement");
        }
    }

    Value unary(const Node& node, const Value& value) {
        if (node.text == "not") return !value.is_true();
        return at_line(node.line, [&] { return arithmetic(node.text, 0, value); });
    }

    Value binary(const Node& node, Scope& scope) {
        Value left = evaluate(*node.children[0], scope);
        const std::string& name = node.text;
        if (name == "and") return left.is_true() ? evaluate(*node.children[1], scope) : left;
        if (name == "or") return left.is_true() ? left : evaluate(*node.children[1], scope);
        const Value right = evaluate(*node.children[1], scope);
        return charged(at_line(node.line, [&]() -> Value {
            if (name == "==") return left == right;
            if (name == "!=") return !(left == right);
            if (name == "in") return contains(right, left);
            if (name == "not in") return !contains(right, left);
            if (name == "<") return order_of(left, right) < 0;
            if (name == "<=") return order_of(left, right) <= 0;
            if (name == ">") return order_of(left, right) > 0;
            if (name == ">=") return order_of(left, right) >= 0;
            return arithmetic(name, left, right);
        }));
    }

    /// The arguments of a call, a filter or a test: what follows its first child.
    Arguments arguments_of(const Node& node, Scope& scope) {
        Arguments arguments;
        for (std::size_t i = 1; i < node.children.size(); ++i) {
            const Node& argument = *node.children[i];
            Value value = evaluate(*argument.children[0], scope);
            if (argument.text.empty())
                arguments.values.push_back(std::move(value));
            else
                arguments.named.emplace_back(argument.text, std::move(value));
        }
        return arguments;
    }

    Value call(const Node& node, const Arguments& arguments, Scope& scope) {
        const Value callee = evaluate(*node.children[0], scope);
        const auto* function = callee.as<Value::FunctionPointer>();
        if (!function) {
            const Node& named = *node.children[0];
            fail(node.line, "expected a function before \"(\", got " + std::string(callee.kind()) +
                                (named.text.empty() ? "" : " \"" + named.text + "\""));
        }
        return charged(at_line(node.line, [&] { return (*function)->call(arguments); }));
    }

    Value filter(const Node& node, Scope& scope, const Value* innermost) {
        // Of several filters in a row on a block, the first one gets the block.
        const Node& from = *node.children[0];
        const bool is_chain = from.kind == NodeKind::filter && innermost;
        const Value value = is_chain    ? filter(from, scope, innermost)
                            : innermost ? *innermost
                                        : evaluate(from, scope);
        const Arguments arguments = arguments_of(node, scope);
        std::optional<Value> result =
            at_line(node.line, [&] { return apply_filter(node.text, value, arguments); });
        if (!result)
            fail(node.line, "expected a filter that is known and takes " + std::string(value.kind()) +
                                ", got \"" + node.text + "\"");
        return charged(*result);
    }

    std::size_t steps_ = 0;
    int calls_ = 0;
    std::vector<std::unique_ptr<Scope>> seen_;
};

/// A template of Jinja 3 (https://jinja.palletsprojects.com), as far as chat templates use it: for, if, set,
/// macro, call, filter, break, continue, raw, and Python's expressions, with the filters and tests of
/// filters.hpp. Recursive loops, imports and inheritance are not supported. It never changes: threads may
/// share it.
class Template {
public:
    /// Throws Error with the line of what is wrong.
    explicit Template(std::string_view source) : block_(Parser(source).parse()) {}

    /// The text for these names; strftime_now() tells `now`. Throws Error with the line of what cannot be
    /// done, and for a template that takes more than 2,000,000 steps or writes more than 64 MiB.
    std::string render(const Map& names, std::time_t now = std::time(nullptr)) const {
        Scope builtin, global{&builtin};
        add_builtins(builtin, now);
        for (const auto& [name, value] : names.members()) global.set(name, value);
        return Renderer().render(*block_, global);
    }

private:
    static void add_builtins(Scope& scope, std::time_t now) {
        const auto add = [&](std::string_view name, auto call) {
            scope.set(name, Value(std::make_shared<const Function>(Function{std::move(call)})));
        };
        add("range", [](const Arguments& a) -> Value {
            const std::int64_t begin = a.size() > 1 ? integer_of(a.values[0]) : 0;
            const std::int64_t end = integer_of(a.get(a.size() > 1, {})), step = integer_of(a.get(2, {}, 1));
            if (step == 0) throw Error("expected a range's step, got 0");
            List list;
            for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
                if (list.size() == 100'000)
                    throw Error("expected a range of at most 100,000 numbers, got more");
                list.emplace_back(i);
            }
            return list;
        });
        const auto to_map = [](const Arguments& a) {
            Map map;
            if (a.size() > 0) {
                if (!a.values[0].map())
                    throw Error("expected a mapping, got " + std::string(a.values[0].kind()));
                map = *a.values[0].map();
            }
            for (const auto& [name, value] : a.named) map.set(name, value);
            return map;
        };
        add("dict", [to_map](const Arguments& a) -> Value { return to_map(a); });
        add("namespace", [to_map](const Arguments& a) -> Value {
            return Value::Namespace{std::make_shared<Map>(to_map(a))};
        });
        add("strftime_now", [now](const Arguments& a) -> Value {
            std::string text(1 << 10, '\0');
            const std::string format = text_of(a.get(0, "format"));
            std::tm time{};
            if (!localtime_r(&now, &time)) throw Error("expected a date, got none");
            text.resize(std::strftime(text.data(), text.size(), format.c_str(), &time));
            return text;
        });
        add("raise_exception",
            [](const Arguments& a) -> Value { throw Error(to_text(a.get(0, "message"))); });
    }

    std::shared_ptr<const Node> block_;
};

}  // namespace tenon::jinja
