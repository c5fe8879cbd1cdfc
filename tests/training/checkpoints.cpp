#include "tenon/training/checkpoints.hpp"

#include <csignal>
#include <cstdint>
#include <limits>
#include <string>
#include <sys/resource.h>
#include <vector>

#include <doctest/doctest.h>

#include "../io/temporary_folder.hpp"
#include "../io/thrown_message.hpp"
#include "../nn/model.hpp"
#include "tenon/optim/adamw.hpp"
#include "tenon/optim/ema.hpp"

using namespace tenon;
using support::Device;

namespace {

using Model = Trainable<Transformer<support::Small, Device>>;

struct Other : support::Small {
    static constexpr int hidden = 20, vocabulary = 12;
};

/// A run of a small model, and views of all that it is made of.
struct Run {
    explicit Run(std::uint64_t number, const std::string& text = "poems", const std::string& rate = "0.1")
        : model(seed(number)), optimizer(model) {
        state.add_parameters("model", model);
        state.add_part("optimizer", optimizer);
        state.add_value("step", step);
        state.add_value("loss", loss);
        state.add_setting("text", text);
        state.add_setting("rate", rate, true);
    }

    void do_step() {
        std::vector<std::uint16_t> tokens;
        for (int i = 0; i < 9; ++i)
            tokens.push_back(static_cast<std::uint16_t>((i * i + static_cast<int>(step)) % 11));
        const auto ids = Tensor<std::uint16_t, Shape<1, 8>, Device>::from(std::span(tokens).first(8));
        const auto targets = Tensor<std::uint16_t, Shape<1, 8>, Device>::from(std::span(tokens).last(8));
        const auto now = cross_entropy(model(ids), targets);
        backward(now);
        optimizer.step();
        loss = static_cast<double>(now.item());
        ++step;
    }

    /// All bits of the state.
    std::string bits() const {
        std::string bits;
        for (const TrainingState::Item& item : state.items())
            for (const char byte : support::bytes_of(item.bytes.size(), item.bytes.data())) bits += byte;
        return bits;
    }

    Model model;
    AdamW<float, float, Device> optimizer;
    std::int64_t step = 0;
    double loss = std::numeric_limits<double>::infinity();
    TrainingState state;
};

/// Changes a byte of a file, or cuts the file off there.
void damage(const std::string& path, std::size_t at, bool cut = false) {
    std::string bytes = read_file(path);
    REQUIRE(at < bytes.size());
    if (cut)
        bytes.resize(at);
    else
        bytes[at] = static_cast<char>(bytes[at] ^ 4);
    write_file(path, bytes);
}

}  // namespace

TEST_CASE("a run that is taken up has the bits of one that never stopped") {
    TemporaryFolder folder;
    Run run(1), stopped(1);
    for (int i = 0; i < 5; ++i) run.do_step();
    for (int i = 0; i < 2; ++i) stopped.do_step();
    save_training(folder.path(), stopped.step, stopped.state);

    Run resumed(2);
    const auto from = load_training(folder.path(), resumed.state);
    REQUIRE(from);
    CHECK(from->step == 2);
    CHECK(from->path == folder / "step-00000002/training.safetensors");
    CHECK(from->notes.empty());
    CHECK(resumed.bits() == stopped.bits());
    for (int i = 0; i < 3; ++i) resumed.do_step();
    CHECK(resumed.bits() == run.bits());
}

TEST_CASE("a folder without checkpoints, or that is not there, resumes nothing") {
    TemporaryFolder folder;
    Run run(1);
    const std::string before = run.bits();
    CHECK_FALSE(load_training(folder.path(), run.state));
    CHECK_FALSE(load_training(folder / "absent", run.state));
    CHECK_NOTHROW(remove_unfinished_checkpoints(folder / "absent"));
    CHECK(run.bits() == before);
    write_file(folder / "file", "x");
    check_mentions(thrown_message([&] { load_training(folder / "file", run.state); }), {"file"});
}

TEST_CASE("the newest checkpoints are kept, and what else is in the folder stays") {
    TemporaryFolder folder;
    Run run(1);
    write_file(folder / "note", "x");
    create_folder(folder / "step-1");
    create_folder(folder / "step-000000003");  // of nine digits: step 3 is written with eight
    for (const std::int64_t step : {9, 10, 11, 123456789}) save_training(folder.path(), step, run.state, 2);
    CHECK(checkpoint_steps(folder.path()) == std::vector<std::int64_t>{11, 123456789});
    // A step that is saved again is replaced; newer ones are not counted.
    save_training(folder.path(), 10, run.state, 1);
    save_training(folder.path(), 11, run.state, 1);
    CHECK(checkpoint_steps(folder.path()) == std::vector<std::int64_t>{11, 123456789});
    CHECK(read_file(folder / "note") == "x");
    CHECK(folder.names().size() == 5);
    CHECK_THROWS_AS(save_training(folder.path(), -1, run.state), Error);
    CHECK_THROWS_AS(save_training(folder.path(), 1, run.state, 0), Error);
    // A note beside a checkpoint outlives it.
    write_file(folder / "step-00000011/note", "y");
    save_training(folder.path(), 12, run.state, 1);
    CHECK(checkpoint_steps(folder.path()) == std::vector<std::int64_t>{12, 123456789});
    CHECK(read_file(folder / "step-00000011/note") == "y");
}

TEST_CASE("a damaged checkpoint is passed over for the one before, and named") {
    TemporaryFolder folder;
    Run run(1);
    for (int i = 0; i < 2; ++i) {
        run.do_step();
        save_training(folder.path(), run.step, run.state);
    }
    const std::string newest = checkpoint_path(folder.path(), 2), whole = read_file(newest);
    for (const auto& [at, cut] : std::vector<std::pair<std::size_t, bool>>{{whole.size() - 1, false},
                                                                           {whole.size() / 2, false},
                                                                           {12, false},
                                                                           {whole.size() - 1, true},
                                                                           {0, true}}) {
        damage(newest, at, cut);
        Run resumed(2);
        const auto from = load_training(folder.path(), resumed.state);
        REQUIRE(from);
        CHECK(from->step == 1);
        CHECK(resumed.step == 1);
        REQUIRE(from->notes.size() == 1);
        check_mentions(from->notes[0], {"damaged", newest.c_str()});
        CHECK(checkpoint_steps(folder.path()) == std::vector<std::int64_t>{1});  // it is set aside
        write_file(newest, whole);
    }
    // With none left that is whole, a run must not begin anew as if there had been none.
    damage(newest, whole.size() - 1);
    damage(checkpoint_path(folder.path(), 1), 100, true);
    Run resumed(2);
    const std::string before = resumed.bits();
    check_mentions(thrown_message([&] { load_training(folder.path(), resumed.state); }),
                   {"whole", "step-00000001", "step-00000002", "checksum"});
    CHECK(resumed.bits() == before);
}

TEST_CASE("one that is damaged does not count among those that are kept") {
    TemporaryFolder folder;
    Run run(1);
    for (const std::int64_t step : {1, 2}) save_training(folder.path(), step, run.state, 2);
    damage(checkpoint_path(folder.path(), 2), 100);
    CHECK(load_training(folder.path(), run.state)->step == 1);
    CHECK(names_in_folder(folder / "step-00000002") ==
          std::vector<std::string>{"training.safetensors.damaged"});
    save_training(folder.path(), 3, run.state, 2);
    CHECK(folder.names().size() == 2);
    for (const std::int64_t step : {3, 1}) {
        CHECK(load_training(folder.path(), run.state)->step == step);
        damage(checkpoint_path(folder.path(), step), 100);
    }
}

TEST_CASE("a setting that has changed by accident is damage, too") {
    TemporaryFolder folder;
    Run run(1);
    save_training(folder.path(), 1, run.state);
    const std::string path = checkpoint_path(folder.path(), 1), whole = read_file(path);
    for (const char* text : {"poems", "0.1", "setting.rate"}) {
        damage(path, whole.find(text) + 2);
        check_mentions(thrown_message([&] { load_training(folder.path(), run.state); }),
                       {"whole", "checksum"});
        write_file(path, whole);
    }
    CHECK(load_training(folder.path(), run.state));
}

TEST_CASE("while averages stand in for the weights, no checkpoint is written or read") {
    TemporaryFolder folder;
    Run run(1);
    Ema ema{run.model};
    run.state.add_part("average", ema);
    save_training(folder.path(), 1, run.state);
    run.do_step();
    const char* message = "Ema: expected the weights in the model at a checkpoint, got the averages";
    {
        const auto swapped = ema.swap_in();
        const std::string before = run.bits();
        CHECK_THROWS_WITH_AS(save_training(folder.path(), 2, run.state), message, Error);
        CHECK_THROWS_WITH_AS(load_training(folder.path(), run.state), message, Error);
        CHECK(run.bits() == before);
    }
    CHECK(folder.names() == std::vector<std::string>{"step-00000001"});
    save_training(folder.path(), 2, run.state);
    CHECK(load_training(folder.path(), run.state)->step == 2);
}

TEST_CASE("a checkpoint of another run is refused with every difference, and changes nothing") {
    TemporaryFolder folder;
    Run run(1);
    save_training(folder.path(), 7, run.state);

    Trainable<Transformer<Other, Device>> model(seed(1));
    std::int64_t step = 3, extra = 4;
    std::uint64_t loss = 5;
    TrainingState other;
    other.add_parameters("model", model);
    other.add_value("step", step);
    other.add_value("loss", loss);
    other.add_value("extra", extra);
    other.add_setting("text", "prose");
    other.add_setting("more", "of it");
    const std::string message = thrown_message([&] { load_training(folder.path(), other); });
    check_mentions(message, {"step-00000007", "\n  text: expected prose, got poems",
                             "\n  more: expected of it, got none", "\n  rate: expected none, got 0.1",
                             "\n  model.embedding.weight: expected f32 [12, ", "], got f32 [11, ",
                             "\n  model.blocks.0.feed_forward.gate.weight: expected f32 [20, ",
                             "\n  loss: expected u64 [], got f64 []", "\n  extra: expected i64 [], got none",
                             "\n  optimizer.", ": expected none, got f32 ["});
    CHECK(message.find("attention.query") != std::string::npos);  // of the optimizer
    CHECK(message.find("model.blocks.0.attention.query") == std::string::npos);
    CHECK((step == 3 && extra == 4 && loss == 5));
}

TEST_CASE("a setting that may change is told, one that may not is an error") {
    TemporaryFolder folder;
    save_training(folder.path(), 7, Run(1).state);
    Run slower(1, "poems", "0.01");
    const auto from = load_training(folder.path(), slower.state);
    REQUIRE(from);
    CHECK(from->notes == std::vector<std::string>{"rate was 0.1, and is now 0.01"});
    Run other(1, "prose");
    check_mentions(thrown_message([&] { load_training(folder.path(), other.state); }), {"prose", "poems"});
}

TEST_CASE("what a killed run left is removed, and nothing else") {
    TemporaryFolder folder;
    Run run(1);
    save_training(folder.path(), 1, run.state);
    create_folder(folder / "step-00000002");
    write_file(folder / "step-00000002/training.safetensors.tmp77-0", "half");
    write_file(folder / "step-00000001/training.safetensors.tmp77-0", "half");
    create_folder(folder / "step-00000003");
    write_file(folder / "step-00000003/note", "mine");
    write_file(folder / "note.tmp", "mine");
    CHECK(checkpoint_steps(folder.path()) == std::vector<std::int64_t>{1});
    remove_unfinished_checkpoints(folder.path());
    CHECK(names_in_folder(folder.path()) ==
          std::vector<std::string>{"note.tmp", "step-00000001", "step-00000003"});
    CHECK(names_in_folder(folder / "step-00000001") == std::vector<std::string>{"training.safetensors"});
    CHECK(load_training(folder.path(), run.state));
}

TEST_CASE("a checkpoint for which there is no room leaves the earlier ones") {
    TemporaryFolder folder;
    Run run(1);
    save_training(folder.path(), 1, run.state, 1);
    const std::string before = read_file(checkpoint_path(folder.path(), 1));
    rlimit previous{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &previous) == 0);
    rlimit small = previous;
    small.rlim_cur = before.size() / 2;
    auto handler = std::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    run.do_step();
    const std::string newer = thrown_message([&] { save_training(folder.path(), 2, run.state, 1); });
    const std::string same = thrown_message([&] { save_training(folder.path(), 1, run.state, 1); });
    ::setrlimit(RLIMIT_FSIZE, &previous);
    std::signal(SIGXFSZ, handler);
    check_mentions(newer, {"step-00000002", "writing failed"});
    check_mentions(same, {"step-00000001", "writing failed"});
    CHECK(read_file(checkpoint_path(folder.path(), 1)) == before);
    CHECK(folder.names() == std::vector<std::string>{"step-00000001"});
    check_mentions(
        thrown_message([&] { save_training(folder / "step-00000001/training.safetensors/x", 1, run.state); }),
        {"training.safetensors"});
}
