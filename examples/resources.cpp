// What language models cost, worked out by the compiler: parameters, floating-point operations, memory, days.
// The tables are those of the accounting problems of Stanford's CS336, for the sizes of GPT-2.

#include <cstdio>
#include <string>

#include <tenon/core/parallel.hpp>
#include <tenon/model/accounting.hpp>
#include <tenon/model/gpt2.hpp>
#include <tenon/model/transformer.hpp>
#include <tenon/op/matmul/cpu.hpp>
#include <tenon/training/utilization.hpp>

#include "arguments.hpp"

using namespace tenon;

namespace {

struct Gpt2Small : Gpt2::Features {
    static constexpr int vocabulary = 50'257, context = 1024, width = 768, depth = 12, heads = 12,
                         hidden = 4 * width;
};
struct Gpt2Medium : Gpt2Small {
    static constexpr int width = 1024, depth = 24, heads = 16, hidden = 4 * width;
};
struct Gpt2Large : Gpt2Small {
    static constexpr int width = 1280, depth = 36, heads = 20, hidden = 4 * width;
};
struct Gpt2Xl : Gpt2Small {
    static constexpr int width = 1600, depth = 48, heads = 25, hidden = 4 * width;
};
// The course's own architecture, as large as GPT-2 XL, and that with a longer context.
struct CourseXl : TransformerDefaults {
    static constexpr int vocabulary = 50'257, context = 1024, width = 1600, depth = 48, heads = 25,
                         hidden = 4 * width;
};
struct CourseXlLong : CourseXl {
    static constexpr int context = 16'384;
};

template <class C>
using Model = Transformer<C>;

// As published for GPT-2 and, for the last, the answer of the course's problem.
static_assert(parameter_count<Model<Gpt2Small>>() == 124'439'808);
static_assert(parameter_count<Model<Gpt2Medium>>() == 354'823'168);
static_assert(parameter_count<Model<Gpt2Large>>() == 774'030'080);
static_assert(parameter_count<Model<Gpt2Xl>>() == 1'557'611'200);
static_assert(parameter_count<Model<CourseXl>>() == 2'127'057'600);

// A line to paste into a program that must fit: it stops compiling when it no longer does.
static_assert(fits_in<Model<Gpt2Xl>, 80_GiB>({.batch = 2}));
static_assert(!fits_in<Model<Gpt2Xl>, 16_GiB>({.batch = 1}));

constexpr double billion = 1e9;
double gibibytes(std::int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(1_GiB); }

template <class C>
void print_flops(const char* name) {
    constexpr TransformerFlops flops = forward_flops<Model<C>>();
    const double total = flops.total();
    std::printf("%-26s %12lld %10.2f %12.1f %9.1f %9.1f %9.1f %9.1f\n", name,
                static_cast<long long>(parameter_count<Model<C>>()), total / billion,
                total * C::context / billion / 1000, 100 * flops.projections / total,
                100 * flops.scores / total, 100 * flops.feed_forward / total, 100 * flops.head / total);
}

template <class C>
void print_memory(const char* name) {
    constexpr TrainingMemory one = training_memory<Model<C>>({.batch = 1}),
                             again = training_memory<Model<C>>({.batch = 1, .recompute = true});
    std::printf("%-26s %9.2f %9.2f %9.2f %11.3f %11.3f %9d %11d\n", name, gibibytes(one.parameters),
                gibibytes(one.gradients), gibibytes(one.optimizer), gibibytes(one.activations),
                gibibytes(again.activations), largest_batch<Model<C>>(80_GiB),
                largest_batch<Model<C>>(80_GiB, {.recompute = true}));
}

template <class C>
void print_time(const char* name, double peak, double utilization) {
    constexpr double steps = 400'000, batch = 1024;
    const double flops = training_flops<Model<C>>().total() * steps * batch * C::context;
    std::printf("%-26s %12.3g %12.1f\n", name, flops, flops / (peak * utilization) / 86'400);
}

void print_tables(const Arguments& arguments) {
    std::printf("%-26s %12s %10s %12s %9s %9s %9s %9s\n", "forward pass", "parameters", "GFLOP", "TFLOP",
                "project.", "scores", "feed-fwd.", "head");
    std::printf("%-26s %12s %10s %12s %9s %9s %9s %9s\n", "", "", "a token", "a sequence", "%", "%", "%",
                "%");
    print_flops<Gpt2Small>("GPT-2 small");
    print_flops<Gpt2Medium>("GPT-2 medium");
    print_flops<Gpt2Large>("GPT-2 large");
    print_flops<Gpt2Xl>("GPT-2 XL");
    print_flops<CourseXl>("CS336, as GPT-2 XL");
    print_flops<CourseXlLong>("the same, context 16384");

    std::printf("\n%-26s %9s %9s %9s %11s %11s %9s %11s\n", "training with AdamW, f32", "weights",
                "gradients", "moments", "activations", "recomputed", "batch in", "recomputed");
    std::printf("%-26s %9s %9s %9s %11s %11s %9s %11s\n", "", "GiB", "GiB", "GiB", "GiB a seq.", "GiB a seq.",
                "80 GiB", "80 GiB");
    print_memory<Gpt2Small>("GPT-2 small");
    print_memory<Gpt2Medium>("GPT-2 medium");
    print_memory<Gpt2Large>("GPT-2 large");
    print_memory<Gpt2Xl>("GPT-2 XL");
    print_memory<CourseXl>("CS336, as GPT-2 XL");

    const double peak = 1e12 * arguments.number("--peak", 19.5);
    const double utilization = arguments.number("--utilization", 0.5);
    std::printf("\n%-26s %12s %12s\n", "400000 steps of batch 1024", "FLOP", "days");
    print_time<Gpt2Small>("GPT-2 small", peak, utilization);
    print_time<Gpt2Xl>("GPT-2 XL", peak, utilization);
    print_time<CourseXl>("CS336, as GPT-2 XL", peak, utilization);
    std::printf("at %.0f %% of %.4g TFLOP/s\n", 100 * utilization, peak / 1e12);

    if (arguments.has("--measure")) {
        const double measured = measured_peak_flops<float>();
        std::printf(
            "\nthis machine, f32, %d threads: %.0f GFLOP/s; GPT-2 small at half of that: %.1f tokens/s\n",
            thread_count(), measured / billion, 0.5 * measured / training_flops<Model<Gpt2Small>>().total());
    }
}

}  // namespace

int main(int count, char** values) {
    return run_program([&] {
        const Arguments arguments(
            count, values, "resources [--peak TFLOPS] [--utilization SHARE] [--measure]",
            {{"--peak", "TFLOPS", "of the device that trains, TFLOP/s (19.5: an A100's f32)"},
             {"--utilization", "SHARE", "of that peak (0.5)"},
             {"--measure", "", "what this machine's matrix products reach"}});
        print_tables(arguments);
    });
}
