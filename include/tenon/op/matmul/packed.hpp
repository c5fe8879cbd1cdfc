#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <cstring>

#include <tenon/core/packet.hpp>
#include <tenon/op/matmul/matrix_view.hpp>

namespace tenon::detail {

// The matrix product on matrices copied into panels, after Goto and van de Geijn, "Anatomy of
// high-performance matrix multiplication" (2008), and Van Zee and van de Geijn, "BLIS" (2015). A panel of the
// left factor holds `tile_rows` rows, a panel of the right one `tile_columns` columns; both run along the
// depth, so that the innermost loop reads memory in order. Two panels multiply into a tile of the result that
// stays in registers.

/// The tile fills the registers: 8 x 3 packets of the 32 that 64-byte packets have, otherwise 4 x 3 of 16.
/// Heights that are powers of two leave no remainder on the extents that models have.
template <class T>
inline constexpr int tile_rows = sizeof(typename Packet<T>::Native) == 64 ? 8 : 4;
template <class T>
inline constexpr int tile_packets = 3;
template <class T>
inline constexpr int tile_columns = tile_packets<T>* Packet<T>::size;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/// How many numbers the panels of a left factor take.
template <class T>
constexpr std::int64_t packed_rows_size(std::int64_t rows, std::int64_t depth) {
    return round_up(rows, tile_rows<T>) * depth;
}

/// How many numbers the panels of a right factor take.
template <class T>
constexpr std::int64_t packed_columns_size(std::int64_t columns, std::int64_t depth) {
    return round_up(columns, Packet<T>::size) * depth;
}

/// Copies `lanes` numbers that follow each other.
template <int lanes, class T, class From>
void copy_lanes(const From* from, T* to) {
    if constexpr (std::same_as<From, T>) {
        std::memcpy(to, from, lanes * sizeof(T));
    } else if constexpr (lanes == Packet<T>::size) {
        Packet<T>::load(from).store(to);
    } else {
        for (int lane = 0; lane < lanes; ++lane) to[lane] = static_cast<T>(from[lane]);
    }
}

/// Copies `valid` <= lanes rows of `from`, of T or of 16 bits, so that they lie side by side: to[k *
/// to_stride + lane] = from(lane, k). Lanes from `valid` on repeat the last; nobody reads what becomes of
/// them.
template <int lanes, class T, class From>
[[gnu::noinline]] void pack_lanes(kernel::MatrixView<const From> from, int valid, std::int64_t depth, T* to,
                                  std::int64_t to_stride) {
    using P = Packet<T>;
    static_assert(lanes <= P::size);
    if (from.row_stride == 1 && valid == lanes) {
        for (std::int64_t k = 0; k < depth; ++k) {
            const From* row = from.data + k * from.column_stride;
            copy_lanes<lanes>(row, to + k * to_stride);
            __builtin_prefetch(row + 8 * from.column_stride);
        }
    } else if (from.column_stride == 1) {
        for (std::int64_t k = 0; k < depth; k += P::size) {
            const int count = static_cast<int>(std::min<std::int64_t>(P::size, depth - k));
            P squares[lanes];
#pragma GCC unroll 16
            for (int lane = 0; lane < lanes; ++lane) {
                squares[lane] = P::load_partial(&from(std::min(lane, valid - 1), k), count);
                __builtin_prefetch(&from(lane + lanes, k));  // the next rows may be pages away
            }
            transpose(squares);
            if (count == P::size) {
#pragma GCC unroll 16
                for (int i = 0; i < P::size; ++i) {
                    squares[i % lanes].template store_lanes<lanes>(to + (k + i) * to_stride,
                                                                   i / lanes * lanes);
                }
            } else {
                for (int i = 0; i < count; ++i) {
                    squares[i % lanes].template store_lanes<lanes>(to + (k + i) * to_stride,
                                                                   i / lanes * lanes);
                }
            }
        }
    } else {
        for (std::int64_t k = 0; k < depth; ++k) {
            for (int lane = 0; lane < lanes; ++lane) {
                to[k * to_stride + lane] = static_cast<T>(from(std::min(lane, valid - 1), k));
            }
        }
    }
}

/// Copies a left factor into panels, one after the other, of the given depth.
template <class T>
[[gnu::noinline]] void pack_rows(std::int64_t rows, std::int64_t depth, kernel::MatrixView<const T> from,
                                 T* to) {
    constexpr int lanes = std::min(tile_rows<T>, Packet<T>::size);
    for (std::int64_t i = 0; i < rows; i += tile_rows<T>) {
        for (int j = 0; j < tile_rows<T>; j += lanes) {
            const std::int64_t valid = std::clamp<std::int64_t>(rows - i - j, 0, lanes);
            if (valid > 0) {
                pack_lanes<lanes>(from.from(i + j, 0), static_cast<int>(valid), depth, to + i * depth + j,
                                  tile_rows<T>);
            }
        }
    }
}

/// Copies two panels of a right factor whose rows' numbers follow each other: as much of a row at once, for
/// the next may be on another page.
template <class T, class From>
[[gnu::noinline]] void pack_two_panels(kernel::MatrixView<const From> from, std::int64_t depth, T* to) {
    constexpr int lanes = Packet<T>::size, width = tile_columns<T>;
    for (std::int64_t k = 0; k < depth; ++k) {
        const From* const row = &from(k, 0);
#pragma GCC unroll 8
        for (int j = 0; j < 2 * width; j += lanes)
            copy_lanes<lanes>(row + j, to + j / width * width * depth + k * width + j % width);
        for (int j = 0; j < 2 * width; j += 64 / static_cast<int>(sizeof(From)))
            __builtin_prefetch(row + 8 * from.row_stride + j);
    }
}

/// Copies a right factor into panels, one after the other. The last may be narrower: as many packets as it
/// needs.
template <class T, class From = T>
[[gnu::noinline]] void pack_columns(std::int64_t columns, std::int64_t depth,
                                    kernel::MatrixView<const From> from, T* to) {
    constexpr int lanes = Packet<T>::size;
    std::int64_t j = 0;
    if (from.column_stride == 1)
        for (constexpr int both = 2 * tile_columns<T>; j + both <= columns; j += both)
            pack_two_panels(from.from(0, j), depth, to + j * depth);
    for (; j < columns; j += lanes) {
        const std::int64_t panel = j / tile_columns<T> * tile_columns<T>;
        const std::int64_t width = std::min<std::int64_t>(tile_columns<T>, round_up(columns - panel, lanes));
        pack_lanes<lanes>(from.from(0, j).transposed(),
                          static_cast<int>(std::min<std::int64_t>(lanes, columns - j)), depth,
                          to + panel * depth + (j - panel), width);
    }
}

/// What becomes of a product: c = scale * product, or c += scale * product.
template <class T>
struct Update {
    T scale;
    bool accumulate;
};

/// Panels of a left factor: element (i, k) of a panel lies at k * step + i, the next panel `panel` further
/// on. Besides packed memory that may be a row-major matrix used transposed, if its rows have room for whole
/// panels.
template <class T>
struct LeftPanels {
    const T* data;
    std::int64_t panel, step;

    /// The panels from row i on, a multiple of the panel's height.
    LeftPanels from(std::int64_t i) const { return {data + i / tile_rows<T> * panel, panel, step}; }

    static LeftPanels packed(const T* data, std::int64_t depth) {
        return {data, tile_rows<T> * depth, tile_rows<T>};
    }
    static LeftPanels transposed(const T* data, std::int64_t row_stride) {
        return {data, tile_rows<T>, row_stride};
    }
};

/// A right factor of `depth` rows and `columns` columns in panels, to be used from row `first` on.
template <class T>
struct RightPanels {
    const T* data;
    std::int64_t columns, depth, first = 0;
};

/// Multiplies a panel of rows with a panel of `packets` packets of columns into one tile of c, of which
/// `rows` x `columns` are valid. From one depth to the next, the panels advance by their steps.
template <int packets, class T>
void multiply_tile(std::int64_t depth, const T* a, std::int64_t a_step, const T* b, std::int64_t b_step, T* c,
                   std::int64_t c_stride, int rows, int columns, Update<T> update) {
    using P = Packet<T>;
    constexpr int height = tile_rows<T>;
    P sums[height][packets];
#pragma GCC unroll 8
    for (int i = 0; i < height; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < packets; ++j) sums[i][j] = P(T(0));
    }
    for (std::int64_t k = 0; k < depth; ++k) {
        P right[packets];
#pragma GCC unroll 4
        for (int j = 0; j < packets; ++j) right[j] = P::load(b + j * P::size);
#pragma GCC unroll 8
        for (int i = 0; i < height; ++i) {
            const P left(a[i]);
#pragma GCC unroll 4
            for (int j = 0; j < packets; ++j) sums[i][j] = fma(left, right[j], sums[i][j]);
        }
        a += a_step;
        b += b_step;
    }
    const P scale(update.scale);
    const int last = columns - (packets - 1) * P::size;
#pragma GCC unroll 8
    for (int i = 0; i < height; ++i) {
        if (i >= rows) break;
#pragma GCC unroll 4
        for (int j = 0; j < packets; ++j) {
            T* to = c + i * c_stride + j * P::size;
            const int count = j + 1 < packets ? P::size : last;
            if (count == P::size) {
                (update.accumulate ? fma(scale, sums[i][j], P::load(to)) : scale * sums[i][j]).store(to);
            } else {
                const P old = update.accumulate ? P::load_partial(to, count) : P(T(0));
                fma(scale, sums[i][j], old).store_partial(to, count);
            }
        }
    }
}

/// c (+)= scale * a b for a left factor in panels and a right one packed, of whose columns those of [begin,
/// end) are computed. `begin` is a multiple of the packet's size.
template <class T>
[[gnu::noinline]] void multiply_packed(std::int64_t rows, std::int64_t begin, std::int64_t end,
                                       std::int64_t depth, LeftPanels<T> a, RightPanels<T> b, T* c,
                                       std::int64_t c_stride, Update<T> update) {
    for (std::int64_t i = 0; i < rows; i += tile_rows<T>) {
        const int height = static_cast<int>(std::min<std::int64_t>(tile_rows<T>, rows - i));
        const T* left = a.from(i).data;
        for (std::int64_t j = begin; j < end;) {
            const std::int64_t panel = j / tile_columns<T> * tile_columns<T>;
            const std::int64_t step =
                std::min<std::int64_t>(tile_columns<T>, round_up(b.columns - panel, Packet<T>::size));
            const T* right = b.data + panel * b.depth + b.first * step + (j - panel);
            const int width = static_cast<int>(std::min(end, panel + tile_columns<T>) - j);
            T* tile = c + i * c_stride + j;
            if (width > 2 * Packet<T>::size) {
                multiply_tile<3>(depth, left, a.step, right, step, tile, c_stride, height, width, update);
            } else if (width > Packet<T>::size) {
                multiply_tile<2>(depth, left, a.step, right, step, tile, c_stride, height, width, update);
            } else {
                multiply_tile<1>(depth, left, a.step, right, step, tile, c_stride, height, width, update);
            }
            j += width;
        }
    }
}

}  // namespace tenon::detail
