#pragma once

#include <cstddef>
#include <cstdint>

#include <tenon/cuda/memory.hpp>
#include <tenon/cuda/pinned.hpp>
#include <tenon/training/loader.hpp>

namespace tenon {

/// The host writes a batch into pinned memory and goes on; the stream copies it, in its turn, to where all
/// batches lie. The host is at most two batches ahead of the copies.
template <class Batches>
class Loader<Batches, Cuda> {
    using Token = typename Batches::token_type;
    using S = typename Batches::S;
    using Tokens = Tensor<Token, S, Cuda>;

public:
    explicit Loader(const Batches& batches)
        : batches_(batches),
          batch_{Tokens::with_extents(batches.extents()), Tokens::with_extents(batches.extents())} {}

    Loader(const Loader&) = delete;
    Loader& operator=(const Loader&) = delete;
    ~Loader() {
        for (const Stage& stage : stages_) stage.copied.wait();  // the copies read what goes now
    }

    const Batch<Token, S, Cuda>& operator()(std::int64_t step) {
        Stage& stage = stages_[next_];
        next_ = 1 - next_;
        const std::int64_t size = batches_.extents().count();
        stage.copied.synchronize();  // its last batch has been read
        const BatchMemory<Token> staged{stage.memory.data(), stage.memory.data() + size};
        batches_.write(step, staged);
        copy(staged.inputs, batch_.inputs);
        copy(staged.targets, batch_.targets);
        stage.copied.record();
        return batch_;
    }

private:
    struct Stage {
        explicit Stage(std::int64_t count) : memory(static_cast<std::size_t>(count)) {}
        cuda::Pinned<Token> memory;
        cuda::Event copied;
    };

    static void copy(const Token* from, const Tokens& to) {
        cuda::check(cudaMemcpyAsync(to.data(), from, static_cast<std::size_t>(to.size()) * sizeof(Token),
                                    cudaMemcpyHostToDevice, cuda::current_stream()),
                    "cudaMemcpyAsync");
    }

    const Batches& batches_;
    Batch<Token, S, Cuda> batch_;
    Stage stages_[2] = {Stage(2 * batches_.extents().count()), Stage(2 * batches_.extents().count())};
    int next_ = 0;
};

}  // namespace tenon
