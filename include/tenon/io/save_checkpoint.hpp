#pragma once

#include <string>

#include <tenon/io/atomic_file.hpp>
#include <tenon/io/file.hpp>
#include <tenon/io/folder.hpp>
#include <tenon/io/parameters.hpp>

namespace tenon {

/// Writes a model as the checkpoint folder that it was loaded from is, so that whatever reads that folder
/// reads this one: its parameters, and the other's configuration and tokenizer as they are. Throws FileError.
template <class Model>
void save_checkpoint(Model& model, const std::string& folder, const CheckpointNames& names,
                     const std::string& origin) {
    create_folder(folder);
    for (const char* name :
         {"generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
          "special_tokens_map.json", "chat_template.jinja", "vocab.json", "merges.txt"})
        if (path_exists(origin + "/" + name)) write_file(folder + "/" + name, read_file(origin + "/" + name));
    save_parameters(model, folder + "/model.safetensors", names);
    // Last, so that a folder that has it is whole.
    write_file(folder + "/config.json", read_file(origin + "/config.json"));
}

}  // namespace tenon
