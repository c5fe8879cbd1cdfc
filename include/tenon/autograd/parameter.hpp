#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <tenon/autograd/tape.hpp>
#include <tenon/core/element_type.hpp>
#include <tenon/core/stored_elements.hpp>

namespace tenon {

/// The ElementType that stands for T.
template <Element T>
constexpr ElementType element_type_of() {
    if constexpr (std::same_as<T, double>)
        return ElementType::f64;
    else if constexpr (std::same_as<T, float>)
        return ElementType::f32;
    else if constexpr (std::same_as<T, bf16>)
        return ElementType::bf16;
    else if constexpr (std::same_as<T, f16>)
        return ElementType::f16;
    else if constexpr (std::same_as<T, bool>)
        return ElementType::boolean;
    else if constexpr (sizeof(T) == 1)
        return std::signed_integral<T> ? ElementType::i8 : ElementType::u8;
    else if constexpr (sizeof(T) == 2)
        return std::signed_integral<T> ? ElementType::i16 : ElementType::u16;
    else if constexpr (sizeof(T) == 4)
        return std::signed_integral<T> ? ElementType::i32 : ElementType::u32;
    else
        return std::signed_integral<T> ? ElementType::i64 : ElementType::u64;
}

/// What a parameter is for: decides its initializer and which optimizer rule applies to it.
enum class Role {
    matrix,     ///< of a linear layer, [out, in]
    embedding,  ///< one row a token
    position,   ///< one row a position
    head,       ///< hidden state to logits, [vocabulary, width]
    gain,       ///< a factor that begins as 1: of a norm
    bias,       ///< an addend that begins as 0: of a layer's or a norm's result, or of a gain's fixed 1
};

/// Within its scope the parameters that a thread makes have no memory: what their elements will be, others
/// hold already, or it is not certain yet that they are wanted. See `allocate_parameters`.
class UnallocatedParameters {
public:
    UnallocatedParameters() : outer_(std::exchange(active, true)) {}
    UnallocatedParameters(const UnallocatedParameters&) = delete;
    UnallocatedParameters& operator=(const UnallocatedParameters&) = delete;
    ~UnallocatedParameters() { active = outer_; }

    static bool is_active() { return active; }

private:
    static inline constinit thread_local bool active = false;
    bool outer_;
};

/// A parameter with its shape erased to values: what optimizers, counting, loading and saving work on.
class ParameterBase {
public:
    ParameterBase(Role role, ElementType type, const Extents& extents, bool takes_type = false)
        : role(role), type(type), takes_type(takes_type), extents(extents) {}
    ParameterBase(const ParameterBase&) = delete;
    ParameterBase(ParameterBase&&) = default;

    // Not inlined: g++ 12 would unroll the loop past the last axis, and warn of what it then reads.
    [[gnu::noinline]] std::int64_t size() const { return extents.count(); }

    const Role role;
    ElementType type;
    /// Whether the type may become a file's, f32, bf16 or f16, before there is memory.
    const bool takes_type;
    const Extents extents;
    Storage storage;
    void* data = nullptr;
    SlotReference gradient;  // null in a model that only runs forward
    /// A factor of the optimizer's rate, which a model sets whose parametrization says so (muP).
    double rate_scale = 1;
};

/// A trained tensor, with the place where its gradient gathers if Tracking is `Tracked`. Its elements are
/// uninitialized until the model that it belongs to initializes or loads them. It stands for its tensor
/// wherever an operation or an expression takes one. One of StoredReal has f32, unless a file that it is
/// loaded from has another type.
template <class T, class S, class D = Cpu, class Tracking = Tracked>
    requires(Real<T> || std::same_as<T, StoredReal>)
class Parameter : public ParameterBase {
public:
    using value_type = T;
    using shape_type = S;
    using device_type = D;
    using tensor_type = Tensor<T, S, D, Tracking>;

    explicit Parameter(Role role, const Extents& extents = S::codes)
        : ParameterBase(role, element_type_of<ElementOf>(), extents, is_stored) {
        if (!may_convert(extents, S::codes) || !extents.all_exact())
            throw_mismatch<mismatch::assignment>(extents, S::codes);
        if (!UnallocatedParameters::is_active()) {
            storage = Storage(Memory<D>::allocate(detail::bytes_of(extents, size_of(type))));
            data = storage.data();
        }
        if constexpr (Tracking::is_tracked) {
            Storage owner = OwnedGradientSlot::create(size());
            gradient = {static_cast<GradientSlot*>(owner.data()), owner};
        }
    }

    /// A parameter that starts as a copy of a tensor.
    explicit Parameter(const Tensor<T, S, D>& value, Role role = Role::matrix)
        : Parameter(role, value.extents()) {
        Memory<D>::copy(value.data(), value.size(), static_cast<T*>(data));
    }

    tensor_type tensor() const {
        if constexpr (Tracking::is_tracked)
            return {storage, elements(), extents, {}, Tracked(gradient)};
        else
            return {storage, elements(), extents};
    }

    /// The values, outside of differentiation.
    Tensor<T, S, D> value() const { return {storage, elements(), extents}; }

    /// What backward passes have added up since the gradient was last cleared; zeros if none has. The tensor
    /// shares the gradient's memory: later passes may change it, unless it is cloned.
    Tensor<ComputeOf<T>, S, D> accumulated_gradient() const requires Tracking::is_tracked {
        const bool is_new = !gradient->written;
        contribute<T, D>(*gradient);
        auto* const elements = static_cast<ComputeOf<T>*>(gradient->storage.data());
        if (is_new) {
            Memory<D>::fill(elements, size(), ComputeOf<T>(0));
            gradient->written = false;
        }
        return {gradient->storage, elements, extents};
    }

    /// Forgets the gradient; the next contribution overwrites it.
    void clear_gradient() {
        if (gradient) gradient->written = false;
    }

private:
    static constexpr bool is_stored = std::same_as<T, StoredReal>;
    using ElementOf = std::conditional_t<is_stored, float, T>;  // without a file

    PointerTo<T> elements() const {
        if constexpr (is_stored)
            return {data, type};
        else
            return static_cast<T*>(data);
    }
};

}  // namespace tenon
