#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <tenon/autograd/tape.hpp>
#include <tenon/core/element_type.hpp>
#include <tenon/core/error.hpp>
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
    ParameterBase(Role role, ElementType type, const Extents& extents, bool takes_type = false,
                  bool takes_strides = false)
        : role(role),
          type(type),
          takes_type(takes_type),
          takes_strides(takes_strides),
          extents(extents),
          strides(row_major_strides(extents)) {}
    ParameterBase(const ParameterBase&) = delete;
    ParameterBase(ParameterBase&&) = default;

    // Not inlined: g++ 12 would unroll the loop past the last axis, and warn of what it then reads.
    [[gnu::noinline]] std::int64_t size() const { return extents.count(); }

    /// Whether the elements follow each other, the last axis fastest. Others are borrowed ones.
    bool is_packed() const { return detail::is_packed(extents, strides); }
    /// Whether the elements are in memory of others, a file's, which is not to be written.
    bool is_borrowed() const { return data && !storage; }

    /// Lets the elements be those here, packed, which `owner` keeps.
    void place(Storage owner, void* elements) {
        storage = std::move(owner);
        data = elements;
        strides = row_major_strides(extents);
    }

    /// The elements, packed, to be written. Throws Error where they are borrowed.
    void* own_data() const {
        if (is_borrowed())
            throw Error("expected a parameter that is the model's to write, got one that is borrowed");
        return data;
    }

    const Role role;
    ElementType type;
    /// Whether the type may become a file's, f32, bf16 or f16, before there is memory.
    const bool takes_type;
    /// Whether the elements may lie with strides that are not those of a packed tensor.
    const bool takes_strides;
    const Extents extents;
    Strides strides;
    Storage storage;
    void* data = nullptr;
    SlotReference gradient;  // null in a model that only runs forward
    /// A factor of the optimizer's rate, which a model sets whose parametrization says so (muP).
    double rate_scale = 1;
};

/// A trained tensor, with the place where its gradient gathers if Tracking is `Tracked`. Its elements are
/// uninitialized until the model that it belongs to initializes or loads them. It stands for its tensor
/// wherever an operation or an expression takes one. One of StoredReal has f32, unless a file that it is
/// loaded from has another type. One whose Layout is Strided is packed, unless it is borrowed from a file
/// that has it otherwise.
template <class T, class S, class D = Cpu, class Tracking = Tracked, class Layout = RowMajor>
    requires(Real<T> || std::same_as<T, StoredReal>)
class Parameter : public ParameterBase {
public:
    using value_type = T;
    using shape_type = S;
    using device_type = D;
    using layout_type = Layout;
    using tensor_type = Tensor<T, S, D, Tracking, Layout>;

    explicit Parameter(Role role, const Extents& extents = S::codes)
        : ParameterBase(role, element_type_of<ElementOf>(), extents, is_stored, !Layout::is_packed) {
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
            return {storage, elements(), extents, layout(), Tracked(gradient)};
        else
            return {storage, elements(), extents, layout()};
    }

    /// The values, outside of differentiation.
    Tensor<T, S, D, Untracked, Layout> value() const { return {storage, elements(), extents, layout()}; }

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

    Layout layout() const {
        if constexpr (Layout::is_packed)
            return {};
        else
            return {strides};
    }
};

}  // namespace tenon
