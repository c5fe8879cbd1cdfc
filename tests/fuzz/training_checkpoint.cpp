// The newest checkpoint of a run of any bytes after the first, above one that is whole: the run goes on from
// the newest, or from the one before where it is damaged, or changes nothing. An odd first byte has the
// checksum made right, as of a file that was written so.
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>

#include <tenon/training/checkpoints.hpp>

#include "folder.hpp"

namespace {

struct Part {
    float weights[3] = {};
    std::int64_t steps = 0;

    template <class F>
    void for_each_state(F&& visit) {
        visit(std::string_view("weights"), tenon::ElementType::f32, std::int64_t{3},
              static_cast<void*>(weights));
        visit(std::string_view("steps"), tenon::ElementType::i64, std::int64_t{1},
              static_cast<void*>(&steps));
    }
};

struct Run {
    Part part;
    std::int64_t step = 0;
    tenon::TrainingState state;

    Run() {
        state.add_part("part", part);
        state.add_value("step", step);
        state.add_setting("text", "poems");
        state.add_setting("rate", "0.1", true);
    }

    std::string bits() const {
        std::string bits;
        for (const auto& item : state.items())
            bits.append(reinterpret_cast<const char*>(item.bytes.data()), item.bytes.size());
        return bits;
    }
};

/// Puts the right checksum where a file has one.
void set_checksum(std::string& bytes) {
    fuzz::expect_value_or_error([&] {
        const auto file = tenon::Safetensors::parse(std::as_bytes(std::span(bytes)), "input");
        const std::string before = tenon::detail::metadata_of(file, "checksum");
        const std::string right = tenon::detail::checkpoint_checksum(file, file.metadata());
        const std::size_t at = bytes.find("\"" + before + "\"");
        if (before.size() == right.size() && at != std::string::npos)
            bytes.replace(at + 1, right.size(), right);
    });
}

}  // namespace

const fuzz::Target target("training_checkpoint", [](const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    static const std::string older = [] {
        Run run;
        run.part = {{1, 2, 3}, 4};
        run.step = 1;
        tenon::save_training(folder.path, run.step, run.state);
        std::filesystem::create_directories(folder.path / "step-00000002");
        return run.bits();
    }();
    std::string bytes(fuzz::text_of(data, size).substr(size > 0 ? 1 : 0));
    if (size > 0 && data[0] % 2 == 1) set_checksum(bytes);
    folder.write("step-00000002/training.safetensors", bytes);
    Run run;
    const std::string before = run.bits();
    try {
        const auto resumed = tenon::load_training(folder.path, run.state);
        fuzz::require(resumed.has_value(), "one of two checkpoints is found");
        fuzz::require(resumed->step == 2 || run.bits() == older, "a damaged checkpoint is passed over whole");
        fuzz::require((resumed->step == 2) == tenon::path_exists(tenon::checkpoint_path(folder.path, 2)),
                      "a damaged checkpoint is set aside");
    } catch (const tenon::Error& error) {
        fuzz::require(error.what()[0] != '\0', "an error has a message");
        fuzz::require(run.bits() == before, "what is refused changes nothing");
    }
});
