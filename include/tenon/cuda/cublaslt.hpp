#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cublasLt.h>
#include <mutex>
#include <source_location>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <tenon/core/element.hpp>
#include <tenon/core/storage.hpp>
#include <tenon/cuda/error.hpp>
#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/stream.hpp>

namespace tenon::cuda {

/// Throws CudaError unless a call of cuBLASLt succeeded.
inline void check(cublasStatus_t status, const char* call,
                  const std::source_location& place = std::source_location::current()) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    throw CudaError(std::string(call) + ": " + cublasLtGetStatusString(status) + ", at " + place.file_name() +
                    ":" + std::to_string(place.line()));
}

/// What cuBLASLt calls an element type.
template <Real T>
inline constexpr cudaDataType_t data_type_of = std::same_as<T, double>  ? CUDA_R_64F
                                               : std::same_as<T, float> ? CUDA_R_32F
                                               : std::same_as<T, bf16>  ? CUDA_R_16BF
                                                                        : CUDA_R_16F;

/// How products of f32 matrices are computed: as written, or with factors rounded to 10 bits on the matrix
/// units.
enum class Float32Products { exact, tf32 };

/// What the process asks of its matrix products.
struct MatmulSettings {
    Float32Products float32 = Float32Products::exact;
};
inline MatmulSettings& matmul_settings() {
    static MatmulSettings settings;
    return settings;
}

/// A matrix, or several that lie `batch_stride` elements apart: element (i, j) is `i * row_stride + j *
/// column_stride` elements behind `data`.
struct MatrixOperand {
    const void* data;
    cudaDataType_t type;
    std::int64_t row_stride, column_stride, batch_stride = 0;

    MatrixOperand transposed() const { return {data, type, column_stride, row_stride, batch_stride}; }
};

/// The sizes of `batch` products [rows, depth] x [depth, columns].
struct MatmulExtents {
    std::int64_t batch = 1, rows = 0, columns = 0, depth = 0;
};

/// Everything that the choice of an algorithm may depend on, for c = a b with a row-major c [rows, columns].
/// One that is stored transposed has its columns in sequence; `leading` is the step between its rows or
/// columns.
struct MatmulProblem {
    struct Operand {
        std::int64_t type = 0, is_transposed = 0, leading = 0, batch_stride = 0, alignment = 0;
        bool operator==(const Operand&) const = default;
    };
    MatmulExtents extents;
    Operand a, b, c;
    std::int64_t compute = CUBLAS_COMPUTE_32F, epilogue = CUBLASLT_EPILOGUE_DEFAULT, bias_alignment = 0;

    bool operator==(const MatmulProblem& other) const { return words() == other.words(); }

    static constexpr int word_count = 22;
    /// The numbers that it consists of.
    using Words = std::array<std::int64_t, word_count>;
    Words words() const { return __builtin_bit_cast(Words, *this); }
    static MatmulProblem of(const Words& words) { return __builtin_bit_cast(MatmulProblem, words); }
};

/// Where a product's matrices are, and what comes with it: c = alpha a b + beta addend, then the epilogue.
struct MatmulArguments {
    const void *a = nullptr, *b = nullptr;
    void* c = nullptr;
    const void* addend = nullptr;  // laid out like c, which it may be
    double alpha = 1, beta = 0;
    const void* bias = nullptr;                          // [columns], of c's type: for epilogues with one
    void* auxiliary = nullptr;                           // laid out like c: what GELU is of
    const float *a_scale = nullptr, *b_scale = nullptr;  // in the GPU's memory: of fp8 factors
};

/// The largest power of two up to 16 that divides an address.
inline std::int64_t alignment_of(const void* data) {
    const auto address = reinterpret_cast<std::uintptr_t>(data);
    return static_cast<std::int64_t>(std::min<std::uintptr_t>(address & -address, 16));
}

/// Gives a problem the layout of an operand; false where cuBLASLt has no name for it.
inline bool describe(const MatrixOperand& operand, std::int64_t rows, std::int64_t columns,
                     MatmulProblem::Operand& described) {
    const auto set = [&](bool is_transposed, std::int64_t leading) {
        described = {operand.type, is_transposed, leading, operand.batch_stride, alignment_of(operand.data)};
        return true;
    };
    if ((operand.column_stride == 1 || columns == 1) && (rows == 1 || operand.row_stride >= columns))
        return set(false, rows == 1 ? columns : operand.row_stride);
    if ((operand.row_stride == 1 || rows == 1) && (columns == 1 || operand.column_stride >= rows))
        return set(true, columns == 1 ? rows : operand.column_stride);
    return false;
}

namespace detail {

/// The workspace that algorithms may ask for.
inline constexpr std::size_t matmul_workspace = std::size_t{32} << 20;

/// An algorithm's settings. (nvcc 13.0 fails on standard containers of C's unnamed structs.)
struct MatmulAlgorithm {
    cublasLtMatmulAlgo_t settings;
    std::size_t workspace = 0;
};

inline cublasLtHandle_t cublaslt() {
    static const cublasLtHandle_t handle = [] {
        cublasLtHandle_t created = nullptr;
        check(cublasLtCreate(&created), "cublasLtCreate");
        return created;
    }();
    return handle;
}

template <class Value>
void set(cublasLtMatmulDescOpaque_t& operation, cublasLtMatmulDescAttributes_t attribute,
         const Value& value) {
    check(cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof value),
          "cublasLtMatmulDescSetAttribute");
}

/// A problem as cuBLASLt takes it: column-major, so that a row-major product is that of the transposed
/// factors in the other order.
struct MatmulDescription {
    cublasLtMatmulDescOpaque_t operation;
    cublasLtMatrixLayoutOpaque_t a, b, c;

    explicit MatmulDescription(const MatmulProblem& p) {
        const auto compute = static_cast<cublasComputeType_t>(p.compute);
        check(cublasLtMatmulDescInit(&operation, compute,
                                     compute == CUBLAS_COMPUTE_64F ? CUDA_R_64F : CUDA_R_32F),
              "cublasLtMatmulDescInit");
        set(operation, CUBLASLT_MATMUL_DESC_TRANSA, p.b.is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
        set(operation, CUBLASLT_MATMUL_DESC_TRANSB, p.a.is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
        const auto epilogue = static_cast<std::uint32_t>(p.epilogue);
        set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
        if (epilogue & 128u) set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.c.leading);
        const auto& [batch, rows, columns, depth] = p.extents;
        describe(a, p.a, rows, depth, batch);
        describe(b, p.b, depth, columns, batch);
        describe(c, p.c, rows, columns, batch);
    }

    /// Gives the operation the pointers that are not arguments of its call.
    void point_to(const MatmulArguments& arguments) {
        if (arguments.bias) set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, arguments.bias);
        if (arguments.auxiliary)
            set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, arguments.auxiliary);
        if (arguments.b_scale) set(operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, arguments.b_scale);
        if (arguments.a_scale) set(operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, arguments.a_scale);
    }

    /// The algorithms that cuBLASLt proposes, best first; a sum that is cut into parts is added up in the
    /// type of computation.
    std::vector<MatmulAlgorithm> proposals(const MatmulProblem& p, int wanted) {
        constexpr int most = 16;
        cublasLtMatmulPreferenceOpaque_t preference;
        check(cublasLtMatmulPreferenceInit(&preference), "cublasLtMatmulPreferenceInit");
        const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
            check(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value),
                  "cublasLtMatmulPreferenceSetAttribute");
        };
        prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, matmul_workspace);
        prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
               std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(p.b.alignment));
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(p.a.alignment));
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(p.c.alignment));
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(p.c.alignment));
        cublasLtMatmulHeuristicResult_t found[most];
        int count = 0;
        const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
            cublaslt(), &operation, &b, &a, &c, &c, &preference, std::min(wanted, most), found, &count);
        if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return {};
        check(status, "cublasLtMatmulAlgoGetHeuristic");
        std::vector<MatmulAlgorithm> algorithms;
        for (int i = 0; i < count; ++i)
            if (found[i].state == CUBLAS_STATUS_SUCCESS)
                algorithms.push_back({found[i].algo, found[i].workspaceSize});
        return algorithms;
    }

    /// Whether an algorithm solves the problem on this GPU within the workspace.
    bool accepts(MatmulAlgorithm& algorithm) {
        cublasLtMatmulHeuristicResult_t result;
        if (cublasLtMatmulAlgoCheck(cublaslt(), &operation, &b, &a, &c, &c, &algorithm.settings, &result) !=
            CUBLAS_STATUS_SUCCESS)
            return false;
        algorithm.workspace = result.workspaceSize;
        return algorithm.workspace <= matmul_workspace;
    }

    cublasStatus_t run(const MatmulAlgorithm& algorithm, const MatmulArguments& arguments) const {
        MatmulDescription own = *this;  // threads may run one plan at once
        own.point_to(arguments);
        const float alpha = static_cast<float>(arguments.alpha), beta = static_cast<float>(arguments.beta);
        cudaDataType_t scale_type{};
        check(cublasLtMatmulDescGetAttribute(&own.operation, CUBLASLT_MATMUL_DESC_SCALE_TYPE, &scale_type,
                                             sizeof scale_type, nullptr),
              "cublasLtMatmulDescGetAttribute");
        const bool is_double = scale_type == CUDA_R_64F;
        // All that take any take as much, so that one block serves them.
        const std::size_t bytes = algorithm.workspace > 0 ? matmul_workspace : 0;
        const Storage workspace = bytes > 0 ? Storage(Memory<Cuda>::allocate(bytes)) : Storage();
        return cublasLtMatmul(cublaslt(), &own.operation,
                              is_double ? &arguments.alpha : static_cast<const void*>(&alpha), arguments.b,
                              &own.b, arguments.a, &own.a,
                              is_double ? &arguments.beta : static_cast<const void*>(&beta),
                              arguments.addend ? arguments.addend : arguments.c, &own.c, arguments.c, &own.c,
                              &algorithm.settings, workspace.data(), bytes, current_stream());
    }

private:
    // Stored row-major, a matrix is its transpose stored column-major.
    static void describe(cublasLtMatrixLayoutOpaque_t& layout, const MatmulProblem::Operand& operand,
                         std::int64_t rows, std::int64_t columns, std::int64_t batch) {
        const auto extent = [](std::int64_t length) { return static_cast<std::uint64_t>(length); };
        check(cublasLtMatrixLayoutInit(&layout, static_cast<cudaDataType_t>(operand.type),
                                       extent(operand.is_transposed ? rows : columns),
                                       extent(operand.is_transposed ? columns : rows), operand.leading),
              "cublasLtMatrixLayoutInit");
        if (batch == 1) return;
        const auto count = static_cast<std::int32_t>(batch);
        check(cublasLtMatrixLayoutSetAttribute(&layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                               sizeof count),
              "cublasLtMatrixLayoutSetAttribute");
        check(cublasLtMatrixLayoutSetAttribute(&layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                               &operand.batch_stride, sizeof operand.batch_stride),
              "cublasLtMatrixLayoutSetAttribute");
    }
};

/// How a problem is solved; not at all where cuBLASLt cannot.
struct MatmulPlan {
    MatmulDescription description;
    MatmulAlgorithm algorithm{};
    bool is_supported = false;
};

struct MatmulProblemHash {
    std::size_t operator()(const MatmulProblem& problem) const {
        std::uint64_t hash = 0xcbf29ce484222325u;
        for (const std::int64_t word : problem.words())
            hash = (hash ^ static_cast<std::uint64_t>(word)) * 0x100000001b3u;
        return static_cast<std::size_t>(hash ^ (hash >> 32));
    }
};

/// The process's plans, each made once: from the table of choices, else by `choose`, else cuBLASLt's first.
struct MatmulPlans {
    std::mutex mutex;
    std::unordered_map<MatmulProblem, MatmulPlan, MatmulProblemHash> made;
    std::unordered_map<MatmulProblem, MatmulAlgorithm, MatmulProblemHash> chosen;
    /// Set while a tuner times proposals: the best of them.
    std::size_t (*choose)(const MatmulProblem&, const MatmulDescription&, const std::vector<MatmulAlgorithm>&,
                          const MatmulArguments&) = nullptr;

    static MatmulPlans& instance() {
        static MatmulPlans* const plans = new MatmulPlans;
        return *plans;
    }

    const MatmulPlan& plan(const MatmulProblem& problem, const MatmulArguments& arguments) {
        const std::lock_guard lock(mutex);
        if (const auto found = made.find(problem); found != made.end()) return found->second;
        MatmulPlan plan{MatmulDescription(problem)};
        plan.description.point_to(arguments);  // proposals depend on their alignment
        if (const auto found = chosen.find(problem); found != chosen.end()) {
            if (!plan.description.accepts(found->second))
                throw CudaError(
                    "the table of matrix products has an algorithm that does not run here: time it again");
            plan.algorithm = found->second;
            plan.is_supported = true;
        } else if (const auto proposals = plan.description.proposals(problem, choose ? 16 : 4);
                   !proposals.empty()) {
            plan.algorithm = proposals[choose ? choose(problem, plan.description, proposals, arguments) : 0];
            plan.is_supported = true;
            if (choose) chosen.emplace(problem, plan.algorithm);
        }
        return made.emplace(problem, plan).first->second;
    }
};

}  // namespace detail

/// c = alpha a b + beta addend by cuBLASLt, by the same algorithm whenever the problem is the same; false,
/// with nothing done, where cuBLASLt cannot.
inline bool multiply(const MatmulProblem& problem, const MatmulArguments& arguments) {
    const detail::MatmulPlan& plan = detail::MatmulPlans::instance().plan(problem, arguments);
    if (!plan.is_supported) return false;
    check(plan.description.run(plan.algorithm, arguments), "cublasLtMatmul");
    return true;
}

/// What a product of matrices does besides.
struct MultiplyOptions {
    bool accumulate = false;  ///< c is added to, instead of overwritten
    double alpha = 1;
    const void* addend = nullptr;                        ///< laid out like c, and added to the product
    const void* bias = nullptr;                          ///< [columns], of c's type, added to each row
    const float *a_scale = nullptr, *b_scale = nullptr;  ///< in the GPU's memory: factors of fp8 matrices
    void* gelu_of = nullptr;              ///< written with what c would be; c is GELU of it, by tanh
    const void* gelu_slope_of = nullptr;  ///< c is multiplied by GELU's derivative at these numbers
};

/// c = alpha a b of matrices as they lie, and what the options say; false, with nothing done, where cuBLASLt
/// cannot. The elements of `c` are written.
inline bool multiply(MatmulExtents extents, MatrixOperand a, MatrixOperand b, MatrixOperand c,
                     const MultiplyOptions& options = {}) {
    if (c.column_stride != 1 && extents.columns != 1 && !options.bias && !options.a_scale) {
        std::swap(a, b);  // the transposed product, whose rows are in sequence
        std::swap(extents.rows, extents.columns);
        a = a.transposed(), b = b.transposed(), c = c.transposed();
    }
    MatmulProblem problem;
    problem.extents = extents;
    if (extents.depth == 0 || !describe(a, extents.rows, extents.depth, problem.a) ||
        !describe(b, extents.depth, extents.columns, problem.b) ||
        !describe(c, extents.rows, extents.columns, problem.c) || problem.c.is_transposed)
        return false;
    if (a.type == CUDA_R_64F) problem.compute = CUBLAS_COMPUTE_64F;
    if (a.type == CUDA_R_32F && matmul_settings().float32 == Float32Products::tf32)
        problem.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
    MatmulArguments arguments{
        a.data,         b.data,        const_cast<void*>(c.data),
        options.addend, options.alpha, options.accumulate || options.addend ? 1.0 : 0.0};
    arguments.a_scale = options.a_scale;
    arguments.b_scale = options.b_scale;
    if (options.addend) problem.c.alignment = std::min(problem.c.alignment, alignment_of(options.addend));
    if (options.bias) {
        problem.epilogue = options.gelu_of ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_BIAS;
        problem.bias_alignment = alignment_of(options.bias);
        arguments.bias = options.bias;
    } else if (options.gelu_of || options.gelu_slope_of) {
        problem.epilogue = options.gelu_of ? CUBLASLT_EPILOGUE_GELU_AUX : CUBLASLT_EPILOGUE_DGELU;
    }
    arguments.auxiliary = options.gelu_of ? options.gelu_of : const_cast<void*>(options.gelu_slope_of);
    return multiply(problem, arguments);
}

}  // namespace tenon::cuda
