// A checkpoint's model.safetensors.index.json of any bytes, beside two small files: what is accepted is made
// of the files that it names, and every tensor is found.
#include <string_view>
#include <vector>

#include <tenon/io/checkpoint.hpp>
#include <tenon/io/safetensors_write.hpp>

#include "folder.hpp"

const fuzz::Target target("checkpoint_index", [](const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    static const bool files_are_there = [] {
        const std::byte bytes[4] = {};
        const auto tensor = [&](const char* name) {
            return tenon::SafetensorsTensor{name, tenon::ElementType::u8, {2, 2}, bytes};
        };
        tenon::write_safetensors(folder.path / "model.safetensors", {tensor("a"), tensor("b")});
        tenon::write_safetensors(folder.path / "2.safetensors", {tensor("c")});
        tenon::write_safetensors(folder.path / "again.safetensors", {tensor("a")});
        return true;
    }();
    folder.write("model.safetensors.index.json", fuzz::text_of(data, size));
    fuzz::expect_value_or_error([&] {
        const tenon::Checkpoint checkpoint = tenon::open_checkpoint(folder.path);
        std::size_t count = 0;
        for (const tenon::Safetensors& file : checkpoint.files()) count += file.size();
        fuzz::require(files_are_there && checkpoint.size() == count && count <= 3,
                      "a checkpoint has the tensors of its files");
        checkpoint.for_each([&](const tenon::SafetensorsEntry& entry) {
            fuzz::require(checkpoint.find(entry.name) == &entry, "a tensor is found by its name");
            fuzz::require(checkpoint.file_of(entry.name)->find(entry.name) == &entry,
                          "and in the file that has it");
        });
    });
});
