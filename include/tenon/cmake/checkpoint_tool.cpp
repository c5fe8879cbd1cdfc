// Writes what tenon_checkpoint adds to a program (see tenon_checkpoint.cmake):
//
//     checkpoint_tool header NAME CHECKPOINT OUTPUT DEPENDENCIES [embedded] [optional]
//     checkpoint_tool files NAME CHECKPOINT OUTPUT DEPENDENCIES
//
// CHECKPOINT is a folder or a GGUF file. DEPENDENCIES lists what was read, for make and ninja.

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tenon/core/stored_elements.hpp>
#include <tenon/io/checkpoint.hpp>
#include <tenon/io/file.hpp>
#include <tenon/io/gguf.hpp>
#include <tenon/io/read_configuration.hpp>
#include <tenon/io/read_elements.hpp>
#include <tenon/model/architectures.hpp>

namespace {

using namespace tenon;

/// A string literal of C++, and of assembly.
std::string literal(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\') {
            result += c;
        } else {  // in octal digits, of which no fourth is read
            result += '\\';
            for (const int shift : {6, 3, 0}) result += static_cast<char>('0' + (byte >> shift & 7));
        }
    }
    return result + '"';
}

std::string number(std::int64_t value) {
    if (value == std::numeric_limits<std::int64_t>::min()) return "std::numeric_limits<std::int64_t>::min()";
    return std::to_string(value);
}

std::string number(double value) {
    constexpr std::string_view limits = "std::numeric_limits<double>::";
    if (value != value) return std::string(limits) + "quiet_NaN()";
    if (value - value != 0) return (value < 0 ? "-" : "") + std::string(limits) + "infinity()";
    char digits[32];
    std::string text(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
    return text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

std::string initializer(const ConfigurationEntry& entry) {
    constexpr std::string_view kinds[] = {"null", "boolean", "integer", "real", "text"};
    std::string text = "{" + literal(entry.key) + ", tenon::ConfigurationKind::" +
                       std::string(kinds[static_cast<std::size_t>(entry.kind)]);
    if (entry.kind == ConfigurationKind::boolean || entry.kind == ConfigurationKind::integer)
        text += ", " + number(entry.integer);
    if (entry.kind == ConfigurationKind::real) text += ", 0, " + number(entry.real);
    if (entry.kind == ConfigurationKind::text) text += ", 0, 0.0, " + literal(entry.text);
    return text + "}";
}

void write(const std::string& path, std::string_view content) {
    if (path_exists(path) && read_file(path) == content) return;  // an untouched header rebuilds nothing
    std::FILE* const file = std::fopen(path.c_str(), "wb");
    if (!file) throw FileError(path + ": cannot be written");
    const bool is_whole = std::fwrite(content.data(), 1, content.size(), file) == content.size();
    if (std::fclose(file) != 0 || !is_whole) throw FileError(path + ": cannot be written");
}

/// The paths that make and ninja compare with the output's age.
void write_dependencies(const std::string& path, std::string_view output,
                        const std::vector<std::string>& read) {
    const auto escaped = [](std::string_view name) {
        std::string text;
        for (const char c : name) {
            if (c == ' ' || c == '#') text += '\\';
            if (c == '$') text += '$';
            text += c;
        }
        return text;
    };
    std::string text = escaped(output) + ":";
    for (const std::string& name : read) text += " \\\n  " + escaped(name);
    write(path, text + "\n");
}

struct Request {
    std::string name, checkpoint, output, dependencies;
    bool is_embedded = false;  ///< the header's path is one of files that are part of the program
    bool is_optional = false;  ///< an architecture that is not supported is no error
    bool is_gguf = !is_folder(checkpoint);

    std::string configuration() const { return is_gguf ? checkpoint : checkpoint + "/config.json"; }
    std::string embedded_path() const { return "embedded:" + name + (is_gguf ? ".gguf" : ""); }
};

OwnedConfiguration configuration_of(const Request& request) {
    if (request.is_gguf) return OwnedConfiguration(Gguf::open(request.checkpoint));
    return read_configuration(request.configuration());
}

std::string extents_of(const TransformerSizes& sizes) {
    std::string text;
    const auto add = [&](const char* what, int extent) {
        if (extent > 0) text += std::string(text.empty() ? "" : ", ") + what + " " + std::to_string(extent);
    };
    add("vocabulary", sizes.vocabulary);
    add("context", sizes.context);
    add("width", sizes.width);
    add("depth", sizes.depth);
    add("heads", sizes.heads);
    add("key and value heads", sizes.key_value_heads);
    add("head width", sizes.head_width);
    add("hidden", sizes.hidden);
    add("experts", sizes.experts);
    return text;
}

void write_header(const Request& request) {
    const OwnedConfiguration configuration = configuration_of(request);
    const ConfigurationTable table = configuration.table();
    const Architecture architecture =
        request.is_optional ? find_architecture(table) : require_architecture(table);

    std::string entries;
    for (const ConfigurationEntry& entry : table) entries += "    " + initializer(entry) + ",\n";
    if (entries.empty()) throw FileError(request.configuration() + ": expected a configuration, got none");
    const std::string model = architecture.is_encoder ? "Encoder" : "Transformer",
                      load = architecture.is_encoder ? "load_encoder" : "load_checkpoint";
    std::string text =
        "// Written by tenon_checkpoint.\n#pragma once\n\n#include <limits>\n#include <string>\n\n";
    for (const std::string& header :
         {"io/" + load, std::string("model/static_checkpoint"),
          std::string(architecture.is_encoder ? "model/encoder" : "model/transformer")})
        text += "#include <tenon/" + header + ".hpp>\n";
    text += "\nnamespace " + request.name +
            " {\n\ninline constexpr tenon::ConfigurationEntry entries[] = {\n" + entries +
            "};\n\n/// What the checkpoint's configuration says.\n"
            "inline constexpr tenon::ConfigurationTable table(entries,\n    " +
            literal(request.configuration()) + ");\n\n";
    text += "/// Where the checkpoint is: a folder, or a GGUF file, for all that reads files.\n";
    text += request.is_embedded
                ? "std::string path();\n\n"
                : "inline std::string path() { return " + literal(request.checkpoint) + "; }\n\n";
    if (!architecture) {
        text += "struct Checkpoint {\n    static constexpr bool is_supported = false;\n};\n\n";
    } else {
        text += "using Checkpoint = tenon::StaticCheckpoint<table>;\n\n/// " +
                std::string(architecture.name) + ": " + extents_of(architecture.sizes) +
                "\nstruct Configuration : Checkpoint::Configuration {};\n\nusing Model = tenon::" + model +
                "<Configuration>;\n\n/// The model, on whatever device and in whatever precision M is of, "
                "with its parameters: those of `path()`,\n/// or of another checkpoint of the same shapes. "
                "Throws like tenon::load_checkpoint.\n"
                "template <class M = Model>\nM load(const std::string& from = path()) {\n    return tenon::" +
                load + "<M>(from);\n}\n\n";
    }
    write(request.output, text + "}  // namespace " + request.name + "\n");
    write_dependencies(request.dependencies, request.output + ".stamp", {request.configuration()});
}

/// What goes into the program, by names below the folder: all that tells how text becomes tokens, and
/// parameters.
std::vector<std::string> files_of(const Request& request) {
    if (request.is_gguf) return {""};
    std::vector<std::string> names{"/config.json"};
    for (const char* name :
         {"/generation_config.json", "/tokenizer.json", "/tokenizer.model", "/tokenizer_config.json",
          "/special_tokens_map.json", "/chat_template.jinja", "/vocab.json", "/merges.txt", "/tekken.json",
          "/modules.json", "/sentence_bert_config.json", "/1_Pooling/config.json",
          "/model.safetensors.index.json"})
        if (path_exists(request.checkpoint + name)) names.push_back(name);
    const Checkpoint checkpoint = open_checkpoint(request.checkpoint);
    for (const Safetensors& file : checkpoint.files())
        names.push_back(file.where().substr(request.checkpoint.size()));
    return names;
}

/// The first element that is not finite, of a tensor that may be read in place, unseen; -1: none is.
template <class Entry>
std::int64_t first_not_finite(const Entry& entry) {
    const std::optional<ElementType> type = detail::plain_type(entry);
    if (!type || !may_be_stored_as<StoredReal>(*type)) return -1;
    return StoredElements(entry.bytes.data(), *type).visit([&]<class T>(const T*) {
        return detail::first_not_finite<T>(entry.bytes.data(),
                                           static_cast<std::int64_t>(entry.bytes.size() / sizeof(T)));
    });
}

/// How many bytes of a file precede those of its tensors. Throws FileError where an element is not finite.
template <class File>
std::size_t offset_of_tensors(const File& file, const std::byte* begin) {
    std::size_t offset = 0;
    for (const auto& entry : file) {
        if (offset == 0 && !entry.bytes.empty())
            offset = static_cast<std::size_t>(entry.bytes.data() - begin);
        const std::int64_t found = first_not_finite(entry);
        if (found >= 0)
            throw FileError(file.where() + ": " + entry.name +
                            ": expected finite elements, got another at element " + std::to_string(found));
    }
    return offset;
}

/// The same of any file: 0 for one without tensors.
std::size_t offset_of_tensors(const MappedFile& file) {
    if (file.path().ends_with(".safetensors"))
        return offset_of_tensors(Safetensors::parse(file.bytes(), file.path()), file.bytes().data());
    if (file.path().ends_with(".json") || file.path().ends_with(".txt") || file.path().ends_with(".jinja") ||
        file.path().ends_with(".model"))
        return 0;
    return offset_of_tensors(Gguf::parse(file.bytes(), file.path()), file.bytes().data());
}

/// A source that has the files in read-only memory, where the assembler copies them. Their tensors begin at
/// multiples of 64 bytes. They lie beyond what code addresses in 32 bits, so that they may be larger than
/// that: code finds them by a table.
void write_files(const Request& request) {
    std::vector<std::string> read;
    std::string files, table, list;
    const auto line_of = [](const std::string& text) { return "    " + literal(text + "\n") + "\n"; };
    const std::string symbol = "tenon_" + request.name + "_files";
    for (const std::string& name : files_of(request)) {
        const std::string path = request.checkpoint + name, index = std::to_string(read.size()),
                          begin = ".L" + symbol + "_" + index, end = begin + "_end";
        const MappedFile file(path);
        read.push_back(path);
        files += line_of(".balign 64");
        const std::size_t beyond = offset_of_tensors(file) % 64;
        if (beyond > 0) files += line_of(".zero " + std::to_string(64 - beyond));
        files += line_of(begin + ": .incbin " + literal(path)) + line_of(end + ":");
        table += line_of(".quad " + begin + ", " + end + " - " + begin);
        list += "        {" + literal(request.embedded_path() + name) + ", {" + symbol + "[" + index +
                "].begin, " + symbol + "[" + index + "].size}},\n";
    }
    const std::string text =
        "// Written by tenon_checkpoint.\n#include <cstddef>\n#include <string>\n\n"
        "#include <tenon/io/embedded_files.hpp>\n\nasm(\n#if !defined(__x86_64__)\n" +
        line_of(".pushsection .rodata") +
        "#elif defined(__clang__) && __clang_major__ < 17  // knows no flag for large sections\n" +
        line_of(".pushsection .lrodata, \"a\", @progbits") + "#else\n" +
        line_of(".pushsection .lrodata, \"al\", @progbits") + "#endif\n" + files + line_of(".popsection") +
        line_of(".pushsection .data.rel.ro, \"aw\"") + line_of(".balign 8") +
        line_of(".globl " + symbol + "\n.hidden " + symbol) + line_of(symbol + ":") + table +
        line_of(".popsection") +
        ");\n\nextern \"C\" const struct {\n    const std::byte* begin;\n    std::size_t size;\n} " + symbol +
        "[];\n\nnamespace " + request.name +
        " {\n\nstd::string path();\nstd::string path() {\n    static const tenon::EmbeddedFile files[] = "
        "{\n" +
        list + "    };\n    static const tenon::EmbeddedFiles all(files);\n    return " +
        literal(request.embedded_path()) + ";\n}\n\n}  // namespace " + request.name + "\n";
    // Written anew even if it says the same: the files that it copies are others.
    std::remove(request.output.c_str());
    write(request.output, text);
    write_dependencies(request.dependencies, request.output, read);
}

}  // namespace

int main(int count, char** values) try {
    const std::vector<std::string> words(values + 1, values + count);
    if (words.size() < 5 || (words[0] != "header" && words[0] != "files")) {
        std::fprintf(stderr,
                     "usage: checkpoint_tool header|files NAME CHECKPOINT OUTPUT DEPENDENCIES "
                     "[embedded] [optional]\n");
        return 2;
    }
    Request request{words[1], words[2], words[3], words[4]};
    for (std::size_t i = 5; i < words.size(); ++i) {
        request.is_embedded |= words[i] == "embedded";
        request.is_optional |= words[i] == "optional";
    }
    if (words[0] == "header")
        write_header(request);
    else
        write_files(request);
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
