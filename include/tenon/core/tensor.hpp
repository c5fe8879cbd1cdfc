#pragma once

#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>

#include <tenon/core/element.hpp>
#include <tenon/core/layout.hpp>
#include <tenon/core/mismatch.hpp>
#include <tenon/core/storage.hpp>
#include <tenon/core/stored_elements.hpp>
#include <tenon/core/tracking.hpp>

namespace tenon {

namespace mismatch {
/// A tensor or expression of shape From cannot initialize or be assigned to one of shape To.
template <class From, class To>
struct assignment;
/// An expression's elements are of type E, the tensor's of type T: write `cast<T>(…)`, or declare the tensor
/// so.
template <class E, class T>
struct assignment_changes_the_element_type;
/// A view with strides cannot become a packed tensor without a copy: write `contiguous(…)`.
template <class From, class To>
struct assignment_of_a_strided_view_write_contiguous;
/// A tracked value would lose its gradient: write `Tensor h = …`, or `detach(…)` where that is meant.
template <class From, class To>
struct assignment_drops_the_gradient;
}  // namespace mismatch

template <Element T, class S, class D = Cpu, class Tracking = Untracked, class Layout = RowMajor>
class Tensor;

template <class X>
inline constexpr bool is_tensor = false;
template <class T, class S, class D, class G, class L>
inline constexpr bool is_tensor<Tensor<T, S, D, G, L>> = true;

namespace detail {

/// Bytes of a tensor of these lengths. Throws ShapeError where one is negative, or where there are too many.
[[gnu::noinline]] inline std::size_t bytes_of(const Extents& lengths, std::size_t element_bytes) {
    std::size_t bytes = element_bytes;
    bool fits = lengths.all_exact();
    for (int axis = 0; axis < lengths.rank; ++axis)
        fits = fits && !__builtin_mul_overflow(bytes, static_cast<std::size_t>(lengths[axis]), &bytes);
    if (!fits || bytes > std::size_t{1} << 62)
        throw ShapeError("expected lengths of at least 0 that fit into memory, got " + shape_text(lengths));
    return bytes;
}

}  // namespace detail

template <class X>
concept TensorLike = is_tensor<std::remove_cvref_t<X>>;

/// An expression that has not been evaluated (see `expression/expression.hpp`).
template <class X>
concept Lazy = requires {
    typename std::remove_cvref_t<X>::lazy_expression;
};

/// A tensor: a handle on a block of a device's memory whose shape is a type. Copying shares the elements,
/// `clone` copies them. Extents that the type leaves open are given when it is made, in order:
///
///     auto x = Tensor<float, Shape<upto<2048>, 768>>::zeros(17);   // [17, 768]
///
/// A default-constructed tensor holds nothing. Element access is checked and is the host's only.
template <Element T, class S, class D, class Tracking, class Layout>
class Tensor {
public:
    static_assert(is_shape<S>, "the second argument of Tensor is a Shape<...>");
    using value_type = T;
    using shape_type = S;
    using device_type = D;
    using tracking_type = Tracking;
    using layout_type = Layout;
    static constexpr int rank = S::rank;
    static constexpr bool is_tracked = Tracking::is_tracked;
    static constexpr bool is_packed = Layout::is_packed;

    Tensor() = default;
    Tensor(const Tensor&) = default;
    Tensor(Tensor&&) = default;
    // Assignment makes this handle share other elements. To a view that has no name it would do nothing.
    Tensor& operator=(const Tensor&) & = default;
    Tensor& operator=(Tensor&&) & = default;
    ~Tensor() = default;

    /// From parts; for operations. The extents have been checked.
    Tensor(Storage storage, PointerTo<T> data, const Extents& extents, Layout layout = {},
           Tracking tracking = {})
        : storage_(std::move(storage)),
          data_(data),
          extents_(extents),
          layout_(layout),
          tracking_(std::move(tracking)) {}

    /// From a tensor of a shape that fits: what the types leave open is checked now. Throws ShapeError.
    template <class From>
        requires(!std::same_as<From, S> && may_convert(From::codes, S::codes))
    Tensor(const Tensor<T, From, D, Tracking, Layout>& other)
        : Tensor(other.storage(), other.data(), converted<From>(other.extents()), other.layout(),
                 other.tracking()) {}

    template <class From>
        requires(!may_convert(From::codes, S::codes))
    Tensor(const Tensor<T, From, D, Tracking, Layout>&, mismatch::assignment<From, S> = {});

    template <class From>
        requires(Layout::is_packed)
    Tensor(const Tensor<T, From, D, Tracking, Strided>&,
           mismatch::assignment_of_a_strided_view_write_contiguous<From, S> = {});

    template <class From>
        requires(!Tracking::is_tracked)
    Tensor(const Tensor<T, From, D, Tracked, Layout>&, mismatch::assignment_drops_the_gradient<From, S> = {});

    /// Evaluates an expression.
    template <Lazy E>
        requires(may_convert(std::remove_cvref_t<E>::shape_type::codes, S::codes) &&
                 std::remove_cvref_t<E>::is_tracked == is_tracked && Layout::is_packed &&
                 std::same_as<typename std::remove_cvref_t<E>::value_type, T>)
    Tensor(E&& expression) : Tensor(materialize_as<T>(expression)) {}

    template <Lazy E>
        requires(!may_convert(std::remove_cvref_t<E>::shape_type::codes, S::codes))
    Tensor(E&&, mismatch::assignment<typename std::remove_cvref_t<E>::shape_type, S> = {});

    template <Lazy E>
        requires(may_convert(std::remove_cvref_t<E>::shape_type::codes, S::codes) &&
                 !std::same_as<typename std::remove_cvref_t<E>::value_type, T>)
    Tensor(
        E&&,
        mismatch::assignment_changes_the_element_type<typename std::remove_cvref_t<E>::value_type, T> = {});

    template <Lazy E>
        requires(std::remove_cvref_t<E>::is_tracked && !is_tracked)
    Tensor(E&&, mismatch::assignment_drops_the_gradient<typename std::remove_cvref_t<E>::shape_type, S> = {});

    /// Elements of any value. `lengths`: one for each extent that the shape leaves open.
    template <std::same_as<int>... N>
        requires(sizeof...(N) == S::dynamic_count && Layout::is_packed && !Tracking::is_tracked)
    static Tensor uninitialized(N... lengths) { return with_extents(complete({lengths...})); }

    template <std::same_as<int>... N>
    static Tensor zeros(N... lengths) {
        return filled(T(0.0f), lengths...);
    }

    template <std::same_as<int>... N>
    static Tensor filled(T value, N... lengths) {
        Tensor result = uninitialized(lengths...);
        Memory<D>::fill(result.data(), result.size(), value);
        return result;
    }

    /// A copy of `values`, in row-major order. Throws ShapeError where their number differs.
    template <std::same_as<int>... N>
    static Tensor from(std::span<const T> values, N... lengths) {
        Tensor result = uninitialized(lengths...);
        result.require_count(values.size());
        Memory<D>::copy(values.data(), result.size(), result.data());
        return result;
    }
    template <std::same_as<int>... N>
    static Tensor of(std::initializer_list<T> values, N... lengths) {
        return from(std::span<const T>(values.begin(), values.size()), lengths...);
    }

    /// A view of memory that the caller keeps alive. Throws ShapeError where the number of elements differs.
    template <std::same_as<int>... N>
    static Tensor borrow(std::span<T> values, N... lengths) {
        Tensor result({}, values.data(), complete({lengths...}));
        result.require_count(values.size());
        return result;
    }

    /// Elements of any value, for extents known at run time. Throws ShapeError where they do not fit the
    /// type.
    static Tensor with_extents(const Extents& lengths) requires(Layout::is_packed && !Tracking::is_tracked) {
        if (!may_convert(lengths, S::codes)) throw_mismatch<mismatch::assignment>(lengths, S::codes);
        Storage storage(Memory<D>::allocate(detail::bytes_of(lengths, sizeof(T))));
        T* data = static_cast<T*>(storage.data());
        return Tensor(std::move(storage), data, lengths);
    }

    const Extents& extents() const { return extents_.get(); }
    /// The length of an axis; negative numbers count from the end. Throws ShapeError where there is no such
    /// axis.
    int extent(int axis) const {
        const int number = axis < 0 ? axis + rank : axis;
        if (number < 0 || number >= rank)
            throw ShapeError("expected an axis of " + detail::shape_text(extents()) + ", got " +
                             std::to_string(axis));
        return extents()[number];
    }
    Strides strides() const {
        if constexpr (is_packed)
            return row_major_strides(extents());
        else
            return layout_.strides;
    }
    /// Number of elements.
    std::int64_t size() const {
        if constexpr (S::is_static)
            return S::codes.count();
        else
            return extents().count();
    }

    PointerTo<T> data() const { return data_; }
    const Storage& storage() const { return storage_; }
    const Layout& layout() const { return layout_; }
    const Tracking& tracking() const { return tracking_; }
    ArrayView<T> view() const { return {data_, extents(), strides()}; }

    /// Whether this is more than a default-constructed handle.
    bool holds_elements() const { return data_ != nullptr; }

    std::span<T> span() const requires(Layout::is_packed) {
        return {data_, static_cast<std::size_t>(size())};
    }

    /// The element at these indices. Throws ShapeError where one lies outside.
    template <std::integral... I>
        requires(sizeof...(I) == rank)
    T& operator()(I... indices) { return data_[offset({static_cast<std::int64_t>(indices)...})]; }
    template <std::integral... I>
        requires(sizeof...(I) == rank)
    const T& operator()(I... indices) const { return data_[offset({static_cast<std::int64_t>(indices)...})]; }

    /// The only element of a tensor of one.
    T item() const {
        if (size() != 1) throw ShapeError("item: expected one element, got " + detail::shape_text(extents()));
        require_elements();
        if constexpr (std::same_as<D, Cpu>) {
            return *data_;
        } else {  // waits for the device
            T value;
            Memory<D>::copy(data_, 1, &value);
            return value;
        }
    }

    /// A copy with elements of its own.
    Tensor clone() const requires(Layout::is_packed && !Tracking::is_tracked) {
        require_elements();
        Tensor result = with_extents(extents());
        Memory<D>::copy(data_, size(), result.data());
        return result;
    }

private:
    static Extents complete(std::initializer_list<int> lengths) {
        Extents extents = S::codes;
        const int* next = lengths.begin();
        for (int axis = 0; axis < rank; ++axis) {
            if (is_exact(extents[axis])) continue;
            if (*next < 0 || extents_conflict(*next, extents[axis])) {
                extents[axis] = *next;
                throw_mismatch<mismatch::assignment>(extents, S::codes);
            }
            extents[axis] = *next++;
        }
        return extents;
    }

    void require_elements() const {
        if (!holds_elements() && size() > 0)
            throw ShapeError("expected the elements of " + detail::shape_text(extents()) +
                             ", got a tensor that holds nothing");
    }

    template <class From>
    static const Extents& converted(const Extents& lengths) {
        if (!may_convert(lengths, S::codes)) throw_mismatch<mismatch::assignment>(lengths, S::codes);
        return lengths;
    }

    void require_count(std::size_t count) const {
        if (static_cast<std::int64_t>(count) != size())
            throw ShapeError("expected " + std::to_string(size()) + " elements for " +
                             detail::shape_text(extents()) + ", got " + std::to_string(count));
    }

    std::int64_t offset(const std::int64_t (&indices)[rank == 0 ? 1 : rank]) const {
        static_assert(std::same_as<D, Cpu>,
                      "elements of a tensor on a GPU are read by copying it to the Cpu");
        require_elements();
        const Strides steps = strides();
        std::int64_t at = 0;
        for (int axis = 0; axis < rank; ++axis) {
            if (indices[axis] < 0 || indices[axis] >= extents()[axis])
                throw ShapeError("index " + std::to_string(indices[axis]) + " is outside axis " +
                                 std::to_string(axis) + " of " + detail::shape_text(extents()));
            at += indices[axis] * steps[axis];
        }
        return at;
    }

    Storage storage_;
    PointerTo<T> data_ = {};
    [[no_unique_address]] detail::ExtentsOf<S> extents_;
    [[no_unique_address]] Layout layout_;
    [[no_unique_address]] Tracking tracking_;
};

/// `Tensor h = silu(gate) * up;` deduces all of the type.
template <Lazy E>
Tensor(E) -> Tensor<typename E::value_type, typename E::shape_type, typename E::device_type,
                    typename E::tracking_type>;

/// The same elements, outside of differentiation.
template <class T, class S, class D, class G, class L>
Tensor<T, S, D, Untracked, L> detach(const Tensor<T, S, D, G, L>& x) {
    return {x.storage(), x.data(), x.extents(), x.layout()};
}

}  // namespace tenon
