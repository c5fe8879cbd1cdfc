#pragma once

#include <memory>
#include <utility>

namespace tenon {

namespace detail {

/// Its address names a type.
template <class>
inline constexpr char type_tag = 0;

}  // namespace detail

/// One of the steps that a tokenizer is made of: a struct of fields whose `apply(arguments...)` is what it
/// does. A program contains only the steps that it names. Copies share the fields.
template <class... Arguments>
class Step {
public:
    template <class Fields>
        requires requires(const Fields& fields, Arguments... arguments) { fields.apply(arguments...); }
    Step(Fields fields) : object_(static_cast<const Interface*>(new Holder<Fields>(std::move(fields)))) {}

    void apply(Arguments... arguments) const { object_->apply(arguments...); }

    /// The fields, if they are of this type.
    template <class Fields>
    const Fields* get_if() const {
        return static_cast<const Fields*>(object_->fields_of(&detail::type_tag<Fields>));
    }

private:
    struct Interface {
        virtual ~Interface() = default;
        virtual void apply(Arguments... arguments) const = 0;
        virtual const void* fields_of(const char* type) const = 0;
    };

    template <class Fields>
    struct Holder final : Interface {
        explicit Holder(Fields value) : fields(std::move(value)) {}
        void apply(Arguments... arguments) const override { fields.apply(arguments...); }
        const void* fields_of(const char* type) const override {
            return type == &detail::type_tag<Fields> ? &fields : nullptr;
        }
        Fields fields;
    };

    std::shared_ptr<const Interface> object_;
};

}  // namespace tenon
