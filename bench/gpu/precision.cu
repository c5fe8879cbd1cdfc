// Trains CS336's TinyStories model on a text in f32, bf16 and fp8, from the same parameters with the same
// batches, and prints the loss on a tenth of the text, held out, after each epoch.
//
//     precision TEXT [EPOCHS]
//
// Batch 32, time 256; byte-pair vocabulary of 10,000, learned from the text; AdamW with a cosine schedule to
// a peak of 1e-3. Ends with the best loss of each precision and its ratio to that of f32 (5 epochs).

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <tenon/cuda.hpp>
#include <tenon/io/file.hpp>
#include <tenon/optim/schedule.hpp>
#include <tenon/tokenizer/train.hpp>

using namespace tenon;

namespace {

struct TinyStories : TransformerDefaults {
    static constexpr int vocabulary = 10'000, context = 256, width = 512, depth = 4, heads = 16,
                         hidden = 1344;
};
constexpr int batch = 32, time_length = TinyStories::context;
using Tokens = std::span<const std::uint16_t>;

/// The least loss on held-out tokens, in nats a token.
template <Precision P>
double best_loss(const char* name, Tokens tokens, Tokens held_out, int epochs) {
    using Model = Transformer<TinyStories, Cuda, P>;
    Trainable<Model> model{seed(42)};
    const Model plain(model);
    AdamW optimizer{model, {.beta2 = 0.95, .decay = 0.1}};
    const RandomBatches<batch, time_length, std::uint16_t> batches(tokens, seed(1));
    Trainer trainer(model, optimizer, batches);
    const auto epoch = static_cast<std::int64_t>(tokens.size()) / (batch * time_length);
    const CosineSchedule schedule{.maximum = 1e-3, .minimum = 1e-4, .warmup = 20, .end = epochs * epoch};
    double best = std::numeric_limits<double>::infinity();
    std::printf("%s:", name);
    for (std::int64_t step = 0; step < epochs * epoch; ++step) {
        optimizer.rate = schedule(step);
        trainer.step(step);
        if ((step + 1) % epoch != 0) continue;
        const double loss = total_cross_entropy(plain, held_out, batch, time_length) /
                            static_cast<double>(held_out.size() - 1);
        std::printf(" %.4f", loss);
        std::fflush(stdout);
        best = std::min(best, loss);
    }
    std::printf("\n");
    return best;
}

}  // namespace

int main(int count, char** values) try {
    if (count < 2) {
        std::fprintf(stderr, "usage: precision TEXT [EPOCHS]\n");
        return 1;
    }
    const int epochs = count > 2 ? std::max(std::atoi(values[2]), 1) : 5;
    const std::string text = read_file(values[1]);
    const auto tokenizer = train_byte_pair_tokenizer(text, TinyStories::vocabulary);
    std::vector<std::uint16_t> tokens;
    for (const TokenId id : tokenizer.encode_ids(text)) tokens.push_back(static_cast<std::uint16_t>(id));
    const std::size_t held_out = tokens.size() / 10;
    const Tokens train = Tokens(tokens).first(tokens.size() - held_out), rest = Tokens(tokens).last(held_out);
    std::printf("%s; %zu tokens, %zu held out\n", cuda::device_properties().name.c_str(), tokens.size(),
                held_out);
    const double f32 = best_loss<F32>("f32", train, rest, epochs);
    const double bf16 = best_loss<MixedBf16>("bf16", train, rest, epochs);
    const double fp8 = best_loss<MixedFp8>("fp8", train, rest, epochs);
    std::printf("best held-out loss: f32 %.4f, bf16 %.4f (ratio %.4f), fp8 %.4f (ratio %.4f)\n", f32, bf16,
                bf16 / f32, fp8, fp8 / f32);
} catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
