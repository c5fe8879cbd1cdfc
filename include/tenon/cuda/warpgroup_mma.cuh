#pragma once

#include <cstdint>

/// The instructions of the tensor cores of sm_90a, a warpgroup's: four warps in a row, the first of a number
/// divisible by four, multiply matrices in shared memory.
namespace tenon::cuda {

/// The sums of a product of 64 rows, spread over a warpgroup: warp w has rows 16 w on, and of those each lane
/// has what a lane of `Sums` has: neighbours (0, 1) of row lane / 4 and (2, 3) of the row 8 below, from
/// column 2 (lane % 4) on, of each 8 columns.
template <int columns>
struct WarpgroupSums {
    float of[columns / 8][4];
};

/// How the numbers of a factor follow each other in memory: those of a row, along the depth of the product,
/// or those of one depth, from row to row. (A right factor is given transposed: its rows are the product's
/// columns.)
enum class FactorOrder { by_row, by_depth };

/// A factor in shared memory, from a multiple of 1024 bytes on, as `SharedTile`s of 64 x 64 16-bit numbers,
/// one after another for each 64 rows: what the instruction is told of their place. The next 16 numbers of
/// the depth are `step` further on.
template <FactorOrder order>
struct SharedFactor {
    static constexpr bool by_row = order == FactorOrder::by_row;
    static constexpr int step = by_row ? 2 : 128;  // in units of 16 bytes

    std::uint64_t description;

    __device__ __forceinline__ explicit SharedFactor(std::uint32_t address)
        : description(std::uint64_t{1} << 62 |   // permuted chunks of rows of 128 bytes
                      std::uint64_t{64} << 32 |  // 1024 bytes from 8 rows of a tile to the next 8
                      std::uint64_t{by_row ? 1 : 512} << 16 |  // from a tile to the next, if it asks
                      ((address & 0x3ffff) >> 4)) {}
};

/// Begins a warpgroup's products: what it wrote to registers and shared memory comes first.
__device__ __forceinline__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// The products since the last call become one group.
__device__ __forceinline__ void commit_products() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// What has been multiplied may be read from here on, and not before.
template <int columns>
__device__ __forceinline__ void pin(WarpgroupSums<columns>& sums) {
#pragma unroll
    for (auto& chunk : sums.of)
#pragma unroll
        for (float& sum : chunk) asm volatile("" : "+f"(sum)::"memory");
}
/// Waits until all but the last `pending` groups of products are done.
template <int pending>
__device__ __forceinline__ void wait_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

/// Starts sums = left right or, with `adds`, sums += left right, of 64 rows and 256 columns, over a depth of
/// 16 numbers of bf16, whose rows are rows of `left` and columns rows of `right`.
template <FactorOrder left_order, FactorOrder right_order>
__device__ __forceinline__ void start_multiply_add(WarpgroupSums<256>& sums, std::uint64_t left,
                                                   std::uint64_t right, bool adds) {
    float(&s)[128] = reinterpret_cast<float(&)[128]>(sums.of);
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %130, 0; "
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
        "%128, %129, p, 1, 1, %131, %132; }"
        : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3]), "+f"(s[4]), "+f"(s[5]), "+f"(s[6]), "+f"(s[7]),
          "+f"(s[8]), "+f"(s[9]), "+f"(s[10]), "+f"(s[11]), "+f"(s[12]), "+f"(s[13]), "+f"(s[14]),
          "+f"(s[15]), "+f"(s[16]), "+f"(s[17]), "+f"(s[18]), "+f"(s[19]), "+f"(s[20]), "+f"(s[21]),
          "+f"(s[22]), "+f"(s[23]), "+f"(s[24]), "+f"(s[25]), "+f"(s[26]), "+f"(s[27]), "+f"(s[28]),
          "+f"(s[29]), "+f"(s[30]), "+f"(s[31]), "+f"(s[32]), "+f"(s[33]), "+f"(s[34]), "+f"(s[35]),
          "+f"(s[36]), "+f"(s[37]), "+f"(s[38]), "+f"(s[39]), "+f"(s[40]), "+f"(s[41]), "+f"(s[42]),
          "+f"(s[43]), "+f"(s[44]), "+f"(s[45]), "+f"(s[46]), "+f"(s[47]), "+f"(s[48]), "+f"(s[49]),
          "+f"(s[50]), "+f"(s[51]), "+f"(s[52]), "+f"(s[53]), "+f"(s[54]), "+f"(s[55]), "+f"(s[56]),
          "+f"(s[57]), "+f"(s[58]), "+f"(s[59]), "+f"(s[60]), "+f"(s[61]), "+f"(s[62]), "+f"(s[63]),
          "+f"(s[64]), "+f"(s[65]), "+f"(s[66]), "+f"(s[67]), "+f"(s[68]), "+f"(s[69]), "+f"(s[70]),
          "+f"(s[71]), "+f"(s[72]), "+f"(s[73]), "+f"(s[74]), "+f"(s[75]), "+f"(s[76]), "+f"(s[77]),
          "+f"(s[78]), "+f"(s[79]), "+f"(s[80]), "+f"(s[81]), "+f"(s[82]), "+f"(s[83]), "+f"(s[84]),
          "+f"(s[85]), "+f"(s[86]), "+f"(s[87]), "+f"(s[88]), "+f"(s[89]), "+f"(s[90]), "+f"(s[91]),
          "+f"(s[92]), "+f"(s[93]), "+f"(s[94]), "+f"(s[95]), "+f"(s[96]), "+f"(s[97]), "+f"(s[98]),
          "+f"(s[99]), "+f"(s[100]), "+f"(s[101]), "+f"(s[102]), "+f"(s[103]), "+f"(s[104]), "+f"(s[105]),
          "+f"(s[106]), "+f"(s[107]), "+f"(s[108]), "+f"(s[109]), "+f"(s[110]), "+f"(s[111]), "+f"(s[112]),
          "+f"(s[113]), "+f"(s[114]), "+f"(s[115]), "+f"(s[116]), "+f"(s[117]), "+f"(s[118]), "+f"(s[119]),
          "+f"(s[120]), "+f"(s[121]), "+f"(s[122]), "+f"(s[123]), "+f"(s[124]), "+f"(s[125]), "+f"(s[126]),
          "+f"(s[127])
        : "l"(left), "l"(right), "r"(static_cast<int>(adds)), "n"(left_order == FactorOrder::by_depth),
          "n"(right_order == FactorOrder::by_depth));
}

}  // namespace tenon::cuda
