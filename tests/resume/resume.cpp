// A run that is killed again and again ends with the bits of one that never was.
//
//     resume KILLS [SEED]
//
// starts itself as a child that trains a small model with checkpoints, kills it (SIGKILL) at random moments,
// takes it up again on another number of threads, and compares the last checkpoints byte for byte. Runs are
// begun anew until as many kills as asked for have found a child that was still running.

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <tenon/files.hpp>
#include <tenon/tenon.hpp>
#include <tenon/training/checkpoints.hpp>
#include <tenon/training/mixed_batches.hpp>

using namespace tenon;
namespace fs = std::filesystem;

namespace {

struct Tiny : TransformerDefaults {
    static constexpr int vocabulary = 1024, context = 24, width = 48, depth = 2, heads = 4, hidden = 96;
    static constexpr double dropout = 0.1;
};
constexpr std::int64_t last_step = 240, steps_between = 5;

/// The child: trains until the last step, from wherever an earlier child got to.
void train(const std::string& folder) {
    std::vector<std::uint16_t> first, second;
    for (int i = 0; i < 4000; ++i) {
        first.push_back(static_cast<std::uint16_t>(i * i % 251));
        second.push_back(static_cast<std::uint16_t>(i * 7 % 256));
    }
    Trainable<Transformer<Tiny>> model{seed(1)};
    AdamW optimizer{model, {.beta2 = 0.95, .decay = 0.1}};
    Ema average{model, {.decay = 0.9, .warmup = true}};
    const MixedBatches<4, Tiny::context, std::uint16_t> batches({{first, 2}, {second, 1}}, seed(2));
    const CosineSchedule schedule{.maximum = 1e-2, .warmup = 20, .end = last_step};
    std::int64_t step = 0;
    double smooth_loss = 0;
    TrainingState state;
    state.add_parameters("model", model);
    state.add_part("optimizer", optimizer);
    state.add_part("average", average);
    state.add_value("step", step);
    state.add_value("smooth_loss", smooth_loss);
    state.add_setting("seed", "2");

    remove_unfinished_checkpoints(folder);
    if (const auto resumed = load_training(folder, state))
        for (const std::string& note : resumed->notes) throw Error("unexpected: " + note);
    while (step < last_step) {
        for (int part = 0; part < 2; ++part) {
            const std::int64_t number = 2 * step + part;
            const auto [inputs, targets] = batches(number);
            const DropoutKey key{seed(3), static_cast<std::uint64_t>(number)};
            const auto loss = cross_entropy(model(inputs, key), targets);
            const float weight = 0.5f;
            backward(loss, {&weight, 1});
            smooth_loss = 0.9 * smooth_loss + 0.1 * static_cast<double>(loss.item());
        }
        optimizer.clip(1.0);
        optimizer.rate = schedule(step);
        optimizer.step();
        average.update();
        if (++step % steps_between == 0) save_training(folder, step, state, 2);
    }
}

/// Starts a child. `this_program` is /proc/self/exe.
pid_t start(const std::string& folder, int threads) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::execl("/proc/self/exe", "resume", "--train", folder.c_str(), std::to_string(threads).c_str(),
                static_cast<char*>(nullptr));
        std::_Exit(127);
    }
    if (child < 0) throw Error("fork failed");
    return child;
}

/// Waits for a child; false if it was killed. Throws where it failed.
bool finish(pid_t child) {
    int status = 0;
    if (::waitpid(child, &status, 0) != child) throw Error("waitpid failed");
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return false;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    throw Error("a child failed with status " + std::to_string(status));
}

/// Waits until a child begins a checkpoint, or for so many seconds.
void await_checkpoint(const std::string& folder, double seconds) {
    const std::vector<std::string> before = names_in_folder(folder);
    const double deadline = monotonic_seconds() + seconds;
    while (monotonic_seconds() < deadline)
        for (const std::string& name : names_in_folder(folder))
            if (!std::binary_search(before.begin(), before.end(), name)) return;
}

bool has_unfinished(const std::string& folder) {
    std::error_code none;
    for (fs::recursive_directory_iterator at(folder, none), end; at != end; at.increment(none))
        if (at->path().filename().string().find(".tmp") != std::string::npos) return true;
    return false;
}

void kill_and_compare(int kills, std::uint64_t random_seed) {
    std::string root = (fs::temp_directory_path() / "tenon-resume-XXXXXX").string();
    if (!::mkdtemp(root.data())) throw Error("no temporary folder: " + root);
    const double begin = monotonic_seconds();
    finish(start(root + "/undisturbed", 1));
    const double duration = monotonic_seconds() - begin;
    const std::string expected = read_file(checkpoint_path(root + "/undisturbed", last_step));

    const Philox random(seed(random_seed));
    int killed = 0, while_writing = 0, runs = 0, unstarted = 0;
    std::uint64_t drawn = 0;
    while (killed < kills) {
        const std::string folder = root + "/run-" + std::to_string(runs++);
        create_folder(folder);
        for (bool finished = false; !finished;) {
            const pid_t child = start(folder, 1 + static_cast<int>(random.below(3, drawn++)));
            if (killed < kills) {
                // Half of them die as they write, the others at any time, the beginning included.
                const double moment = random.uniform(drawn++), part = random.uniform(drawn++);
                double delay = duration * moment * part;
                if (killed % 2 == 1) {
                    await_checkpoint(folder, duration);
                    delay = 0.003 * moment;
                }
                ::usleep(static_cast<useconds_t>(1e6 * delay));
                ::kill(child, SIGKILL);
            }
            finished = finish(child);
            if (finished) continue;
            ++killed;
            while_writing += has_unfinished(folder);
            unstarted += checkpoint_steps(folder).empty();
        }
        if (read_file(checkpoint_path(folder, last_step)) != expected)
            throw Error("run " + std::to_string(runs) + " after " + std::to_string(killed) +
                        " kills: expected the bits of the undisturbed run, got others (in " + root + ")");
        // Two are kept; a third is there where the last kill came before its removal.
        if (checkpoint_steps(folder).size() > 3 || has_unfinished(folder))
            throw Error(folder + ": expected the last checkpoints and nothing else");
    }
    std::printf(
        "%d kills in %d runs of %.2f s: %d while a checkpoint was written, %d before the first; every "
        "run ended with the same bits\n",
        killed, runs, duration, while_writing, unstarted);
    fs::remove_all(root);
}

}  // namespace

int main(int count, char** values) {
    try {
        if (count == 4 && std::string(values[1]) == "--train") {
            set_thread_count(std::atoi(values[3]));
            train(values[2]);
        } else {
            kill_and_compare(count > 1 ? std::atoi(values[1]) : 8,
                             count > 2 ? static_cast<std::uint64_t>(std::atoll(values[2])) : 1);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
