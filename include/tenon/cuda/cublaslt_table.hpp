#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <tenon/cuda/cublaslt.hpp>
#include <tenon/cuda/device.hpp>

namespace tenon::cuda {

/// Timed choices of algorithms for matrix products, kept in a text file: a line that names the GPU and the
/// version of cuBLASLt, then a line for each problem, its numbers and the algorithm's bytes in hexadecimal.
/// Problems that are not in it are solved by cuBLASLt's first proposal. What a program computes depends on
/// its table to the bit, so a run is repeated with the table that it began with.
class MatmulTable {
public:
    /// Within its scope each new problem's proposals are timed where it is first met, in the program's own
    /// order, and the fastest is chosen for the life of the process. Nothing else ever times anything.
    class Tuning {
    public:
        Tuning() { set(&choose); }
        Tuning(const Tuning&) = delete;
        Tuning& operator=(const Tuning&) = delete;
        ~Tuning() { set(nullptr); }

    private:
        static void set(decltype(detail::MatmulPlans::choose) choose) {
            const std::lock_guard lock(detail::MatmulPlans::instance().mutex);
            detail::MatmulPlans::instance().choose = choose;
        }
    };

    /// Writes all choices, those that were loaded included. Throws Error where the file cannot be written.
    static void save(const std::string& path) {
        std::ostringstream text;
        text << heading() << '\n';
        {
            detail::MatmulPlans& plans = detail::MatmulPlans::instance();
            const std::lock_guard lock(plans.mutex);
            std::vector<std::pair<MatmulProblem::Words, detail::MatmulAlgorithm>> sorted;
            for (const auto& [problem, algorithm] : plans.chosen)
                sorted.emplace_back(problem.words(), algorithm);
            std::sort(sorted.begin(), sorted.end(),
                      [](const auto& a, const auto& b) { return a.first < b.first; });
            for (const auto& [words, algorithm] : sorted) {
                for (const std::int64_t word : words) text << word << ' ';
                text << hexadecimal(algorithm) << '\n';
            }
        }
        std::ofstream file(path, std::ios::binary);
        file << text.str();
        if (!file.flush()) throw Error("matrix product table: cannot write " + path);
    }

    /// Adds the choices of a file; problems that have been met already stay as they are. Throws Error where
    /// it cannot be read, is malformed, or was made for another GPU or another version of cuBLASLt.
    static void load(const std::string& path) {
        std::ifstream file(path, std::ios::binary);
        std::string line;
        if (!std::getline(file, line)) throw Error("matrix product table: cannot read " + path);
        if (line != heading())
            throw Error("matrix product table: expected \"" + heading() + "\", got \"" + line + "\" in " +
                        path);
        detail::MatmulPlans& plans = detail::MatmulPlans::instance();
        const std::lock_guard lock(plans.mutex);
        for (int number = 2; std::getline(file, line); ++number) {
            std::istringstream fields(line);
            MatmulProblem::Words words{};
            for (std::int64_t& word : words) fields >> word;
            std::string bytes, rest;
            detail::MatmulAlgorithm algorithm{};
            if (!(fields >> bytes) || fields >> rest || !parse(bytes, algorithm))
                throw Error("matrix product table: malformed line " + std::to_string(number) + " in " + path);
            plans.chosen.insert_or_assign(MatmulProblem::of(words), algorithm);
        }
    }

private:
    static std::string heading() {
        return "cuBLASLt " + std::to_string(cublasLtGetVersion()) + " on " + device_properties().name;
    }

    static constexpr char digits[] = "0123456789abcdef";

    static std::string hexadecimal(const detail::MatmulAlgorithm& algorithm) {
        const auto bytes = __builtin_bit_cast(Bytes, algorithm.settings);
        std::string text;
        for (const unsigned char byte : bytes) {
            text += digits[byte >> 4];
            text += digits[byte & 15];
        }
        return text;
    }

    static bool parse(const std::string& text, detail::MatmulAlgorithm& algorithm) {
        Bytes bytes{};
        if (text.size() != 2 * bytes.size()) return false;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const char* digit = text[i] ? std::strchr(digits, text[i]) : nullptr;
            if (!digit) return false;
            bytes[i / 2] = static_cast<unsigned char>(bytes[i / 2] << 4 | (digit - digits));
        }
        algorithm = {__builtin_bit_cast(cublasLtMatmulAlgo_t, bytes)};
        return true;
    }

    using Bytes = std::array<unsigned char, sizeof(cublasLtMatmulAlgo_t)>;

    /// The fastest of a problem's algorithms by the median of several runs, which write to scratch memory.
    static std::size_t choose(const MatmulProblem& problem, const detail::MatmulDescription& description,
                              const std::vector<detail::MatmulAlgorithm>& algorithms,
                              const MatmulArguments& arguments) {
        constexpr int warm = 2, timed = 9;
        const MatmulExtents& e = problem.extents;
        const std::int64_t elements =
            (e.batch - 1) * problem.c.batch_stride + (e.rows - 1) * problem.c.leading + e.columns;
        const Storage result(Memory<Cuda>::allocate(static_cast<std::size_t>(elements) * sizeof(double)));
        MatmulArguments trial = arguments;
        trial.c = result.data();
        if (arguments.addend == nullptr) trial.addend = arguments.c;
        std::size_t best = 0;
        float least = 0;
        for (std::size_t i = 0; i < algorithms.size(); ++i) {
            std::vector<float> times;
            for (int round = 0; round < warm + timed; ++round) {
                Event begin, end;
                begin.record();
                const cublasStatus_t status = description.run(algorithms[i], trial);
                end.record();
                if (status != CUBLAS_STATUS_SUCCESS) break;
                if (round >= warm) times.push_back(end.milliseconds_since(begin));
            }
            if (times.empty()) continue;
            std::nth_element(times.begin(), times.begin() + timed / 2, times.end());
            const float median = times[timed / 2];
            if (least == 0 || median < least) {
                least = median;
                best = i;
            }
        }
        return best;
    }
};

}  // namespace tenon::cuda
