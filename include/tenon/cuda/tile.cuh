#pragma once

#include <cstdint>

#include <tenon/cuda/async_copy.cuh>
#include <tenon/cuda/mma.cuh>
#include <tenon/cuda/reduce.cuh>

/// Tiles of matrices for a warp's tensor cores, as types: `SharedTile` lies in shared memory and is a
/// block's; `Sums` and `Factor` lie in registers, spread over the lanes of one warp; `Left…` and `Right…` say
/// how a warp reads a shared tile as a factor of a product.
namespace tenon::cuda {

/// Rows of 16-bit numbers in shared memory. The 16-byte chunks of a row are permuted by its number, so that
/// neither eight rows' chunks of one column nor one row's chunks meet in a bank.
template <class T, int rows_, int width_>
struct SharedTile {
    using Element = T;
    static constexpr int rows = rows_, width = width_, chunk = 8, chunks = width / chunk;
    static constexpr int row_bytes = width * static_cast<int>(sizeof(T)), bytes = rows * row_bytes;
    static_assert(width % 32 == 0 && rows % 16 == 0 && sizeof(T) == 2);

    std::uint32_t address;

    /// What chunk numbers of a row are combined with, bit by bit.
    __device__ static constexpr int permutation(int row) {
        return width % 64 == 0 ? row & 7 : (row >> 1) & 3;
    }

    __device__ std::uint32_t at(int row, int chunk_number) const {
        return address +
               static_cast<std::uint32_t>(row * row_bytes + ((chunk_number ^ permutation(row)) << 4));
    }

    /// Starts the block's copy of rows of memory, `stride` elements apart, that have `count` chunks each;
    /// zeros for rows from `last` on, and for further chunks. `thread` is of `threads`.
    template <int threads>
    __device__ __forceinline__ void copy(const T* from, std::int64_t stride, int last, int count,
                                         int thread) const {
        static_assert(rows * chunks % threads == 0);
        if constexpr (threads % chunks == 0) {
            constexpr int step = threads / chunks;  // rows
            const int row = thread / chunks, column = thread % chunks;
            const T* source = from + row * stride + column * chunk;
#pragma unroll
            for (int i = 0; i < rows / step; ++i) {
                copy_async(at(row + i * step, column), source, row + i * step < last && column < count);
                source += step * stride;
            }
        } else {
#pragma unroll
            for (int i = 0; i < rows * chunks / threads; ++i) {
                const int number = i * threads + thread, row = number / chunks, column = number % chunks;
                copy_async(at(row, column), from + row * stride + column * chunk,
                           row < last && column < count);
            }
        }
    }
};

/// A product's sums: each lane has neighbours (0, 1) of row lane / 4 and (2, 3) of the row 8 below, from
/// column 2 (lane % 4) on, of each 16 x 8 block.
template <int rows, int columns>
struct Sums {
    float block[rows / 16][columns / 8][4];

    __device__ __forceinline__ void fill(float value) {
#pragma unroll
        for (auto& row : block)
#pragma unroll
            for (auto& one : row)
#pragma unroll
                for (float& sum : one) sum = value;
    }
    __device__ __forceinline__ void clear() { fill(0); }
};

/// A left factor in registers.
template <class T, int rows, int depth>
struct Factor {
    std::uint32_t block[rows / 16][depth / 16][4];

    __device__ __forceinline__ void load_left(int row, int step, std::uint32_t (&to)[4]) const {
#pragma unroll
        for (int i = 0; i < 4; ++i) to[i] = block[row][step][i];
    }
};

/// Sums, rounded, are a left factor where they lie.
template <class T, int rows, int columns>
__device__ __forceinline__ Factor<T, rows, columns> rounded_factor(const Sums<rows, columns>& sums) {
    Factor<T, rows, columns> factor;
#pragma unroll
    for (int i = 0; i < rows / 16; ++i)
#pragma unroll
        for (int j = 0; j < columns / 8; ++j) {
            const float(&from)[4] = sums.block[i][j];
            factor.block[i][j / 2][j % 2 * 2] = rounded_pair<T>(from[0], from[1]);
            factor.block[i][j / 2][j % 2 * 2 + 1] = rounded_pair<T>(from[2], from[3]);
        }
    return factor;
}

/// How a lane finds its row of the 8 x 8 matrices in 16 x 16 blocks of a shared tile. Matrices 1 and 2 are
/// below and to the right of matrix 0, or with `across` the other way round.
template <class Tile, bool across, bool transposed>
class BlockReader {
public:
    /// Reads from row `first` on, a multiple of 16.
    __device__ __forceinline__ explicit BlockReader(const Tile& tile, int first = 0) {
        const int lane = static_cast<int>(threadIdx.x) % warp_size;
        const int row = (lane & 7) + ((across ? lane >> 4 : lane >> 3) & 1) * 8;
        const int right = (across ? lane >> 3 : lane >> 4) & 1;
        row_ = tile.address + static_cast<std::uint32_t>((first + row) * Tile::row_bytes);
        chunk_ = static_cast<std::uint32_t>((right ^ Tile::permutation(row)) << 4);
    }
    /// The lane's row of the 16 x 16 block of rows 16 i and columns 16 j on.
    __device__ __forceinline__ std::uint32_t at(int i, int j) const {
        return row_ + (chunk_ ^ static_cast<std::uint32_t>(j << 5)) +
               static_cast<std::uint32_t>(16 * i * Tile::row_bytes);
    }
    /// That block.
    __device__ __forceinline__ void load(int i, int j, std::uint32_t (&to)[4]) const {
        load_matrices<transposed>(at(i, j), to);
    }

private:
    std::uint32_t row_, chunk_;
};

/// A shared tile's rows as the rows of a left factor.
template <class Tile>
struct Left : BlockReader<Tile, false, false> {
    using BlockReader<Tile, false, false>::BlockReader;
    __device__ __forceinline__ void load_left(int row, int step, std::uint32_t (&to)[4]) const {
        this->load(row, step, to);
    }
};

/// A shared tile's columns as the rows of a left factor.
template <class Tile>
struct LeftTransposed : BlockReader<Tile, true, true> {
    __device__ __forceinline__ explicit LeftTransposed(const Tile& tile, int first_column_block)
        : BlockReader<Tile, true, true>(tile), first_(first_column_block) {}
    __device__ __forceinline__ void load_left(int row, int step, std::uint32_t (&to)[4]) const {
        this->load(step, first_ + row, to);
    }

private:
    int first_;
};

/// A shared tile's rows as the rows of a right factor.
template <class Tile>
struct Right : BlockReader<Tile, false, true> {
    __device__ __forceinline__ explicit Right(const Tile& tile, int first_row = 0, int first_column_block = 0)
        : BlockReader<Tile, false, true>(tile, first_row), first_(first_column_block) {}
    __device__ __forceinline__ void load_right(int step, int columns, std::uint32_t (&to)[4]) const {
        this->load(step, first_ + columns, to);
    }

private:
    int first_;
};

/// A shared tile's rows as the columns of a right factor.
template <class Tile>
struct RightTransposed : BlockReader<Tile, true, false> {
    using BlockReader<Tile, true, false>::BlockReader;
    __device__ __forceinline__ void load_right(int step, int columns, std::uint32_t (&to)[4]) const {
        this->load(columns, step, to);
    }
};

/// sums += left right, over a depth of 16 `steps`. After each step `between(step)` runs: other work, that the
/// tensor cores' work may hide.
template <class T, int steps, int rows, int columns, class LeftFactor, class RightFactor, class Between>
__device__ __forceinline__ void multiply_add(Sums<rows, columns>& sums, const LeftFactor& left,
                                             const RightFactor& right, const Between& between) {
#pragma unroll
    for (int step = 0; step < steps; ++step) {
        std::uint32_t a[rows / 16][4];
#pragma unroll
        for (int i = 0; i < rows / 16; ++i) left.load_left(i, step, a[i]);
#pragma unroll
        for (int j = 0; j < columns / 16; ++j) {
            std::uint32_t b[4];
            right.load_right(step, j, b);
#pragma unroll
            for (int i = 0; i < rows / 16; ++i) {
                multiply_add<T>(sums.block[i][2 * j], a[i], b[0], b[1]);
                multiply_add<T>(sums.block[i][2 * j + 1], a[i], b[2], b[3]);
            }
        }
        between(step);
    }
}

struct Nothing {
    __device__ void operator()(int) const {}
};

template <class T, int steps, int rows, int columns, class LeftFactor, class RightFactor>
__device__ __forceinline__ void multiply_add(Sums<rows, columns>& sums, const LeftFactor& left,
                                             const RightFactor& right) {
    multiply_add<T, steps>(sums, left, right, Nothing());
}

/// A warp's left factor from a shared tile, into registers.
template <class T, int rows, int depth, class Reader>
__device__ __forceinline__ void load_factor(Factor<T, rows, depth>& to, const Reader& from) {
#pragma unroll
    for (int i = 0; i < rows / 16; ++i)
#pragma unroll
        for (int j = 0; j < depth / 16; ++j) from.load_left(i, j, to.block[i][j]);
}

/// Four lanes that hold two columns each of four chunks of 8 columns exchange them: a lane gets the chunk of
/// its own number.
__device__ __forceinline__ uint4 chunk_of_lane(const std::uint32_t (&pairs)[4]) {
    const bool is_odd = threadIdx.x & 1, is_high = threadIdx.x & 2;
    const auto swap = [](std::uint32_t given, int distance) {
        return __shfl_xor_sync(0xffffffffu, given, distance);
    };
    // Of the chunks with the lane's parity, the first and the second half's pair of columns.
    const std::uint32_t low = swap(is_odd ? pairs[0] : pairs[1], 1),
                        high = swap(is_odd ? pairs[2] : pairs[3], 1);
    const std::uint32_t first[2] = {is_odd ? low : pairs[0], is_odd ? pairs[1] : low},
                        second[2] = {is_odd ? high : pairs[2], is_odd ? pairs[3] : high};
    const std::uint32_t got[2] = {swap(is_high ? first[0] : second[0], 2),
                                  swap(is_high ? first[1] : second[1], 2)};
    return is_high ? make_uint4(got[0], got[1], second[0], second[1])
                   : make_uint4(first[0], first[1], got[0], got[1]);
}

}  // namespace tenon::cuda
