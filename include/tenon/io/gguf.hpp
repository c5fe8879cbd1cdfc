#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/error.hpp"
#include "tenon/io/gguf_metadata.hpp"
#include "tenon/io/mapped_file.hpp"
#include "tenon/io/named_tensors.hpp"
#include "tenon/io/quantized.hpp"

namespace tenon {

/// A tensor of a GGUF file. `shape` is row-major, the last extent that of a row: the reverse of how the file
/// writes it. `bytes` are blocks of elements of the type inside the file's mapping; a row is whole blocks.
struct GgufEntry {
    std::string name;
    GgmlType type;
    std::vector<std::int64_t> shape;
    std::span<const std::byte> bytes;
};

/// The tensors and metadata of a GGUF file of version 2 or 3
/// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), mapped, not copied. Header, metadata and the
/// table of tensors are checked when the file is opened: what is found lies within it. A file may be split,
/// as NAME-00001-of-00003.gguf and so on: the first part has the metadata.
class Gguf : public detail::NamedTensors<GgufEntry> {
public:
    /// Maps and checks a file, and the parts that follow it where it is the first of several. Throws
    /// FileError.
    static Gguf open(const std::string& path);

    /// Checks bytes that lie in memory, which must outlive the result. `where` names them in messages. Throws
    /// FileError.
    static Gguf parse(std::span<const std::byte> bytes, std::string where) {
        const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return detail::with_place(where, [&] {
            Gguf result(where, GgufMetadata(text));
            result.read_tensors(bytes);
            return result;
        });
    }

    const GgufMetadata& metadata() const { return metadata_; }

private:
    /// A row of the table of tensors, checked but for where the bytes lie.
    struct Row {
        GgufEntry entry;
        std::uint64_t offset, size;
    };

    /// A name without characters, a rank, an extent, a type, and an offset.
    static constexpr std::size_t least_bytes_of_row = 8 + 4 + 8 + 4 + 8;
    static constexpr std::uint32_t greatest_rank = 4;

    Gguf(std::string where, GgufMetadata metadata)
        : NamedTensors(std::move(where)), metadata_(std::move(metadata)) {}

    void read_tensors(std::span<const std::byte> bytes);
    std::uint64_t alignment() const;
    static Row read_row(detail::GgufCursor& cursor, std::uint64_t alignment);
    void refuse_overlaps() const;
    std::int64_t part_number(std::string_view key, std::int64_t otherwise) const;

    std::vector<MappedFile> files_;
    GgufMetadata metadata_;
};

/// The number under a key of a part's metadata.
inline std::int64_t Gguf::part_number(std::string_view key, std::int64_t otherwise) const {
    const GgufValue* value = metadata_.find(key);
    const std::vector<std::int64_t> numbers = value ? value->integers() : std::vector<std::int64_t>();
    return numbers.empty() ? otherwise : numbers[0];
}

inline Gguf Gguf::open(const std::string& path) {
    MappedFile file(path);
    Gguf result = parse(file.bytes(), path);
    result.files_.push_back(std::move(file));
    const std::int64_t parts = result.part_number("split.count", 1);
    if (parts <= 1) return result;

    const auto ending = [&](std::int64_t number) {
        char text[48];
        std::snprintf(text, sizeof text, "-%05d-of-%05d.gguf", static_cast<int>(number),
                      static_cast<int>(parts));
        return std::string(text);
    };
    if (parts > 99'999 || !path.ends_with(ending(1)) || result.part_number("split.no", 0) != 0)
        throw FileError(path + ": expected a file of its own, or the first of " + std::to_string(parts) +
                        " parts, whose name ends in \"-00001-of-" + ending(parts).substr(10) +
                        "\", got another name or part");
    const std::string stem = path.substr(0, path.size() - ending(1).size());
    for (std::int64_t i = 1; i < parts; ++i) {
        MappedFile next(stem + ending(i + 1));
        Gguf part = parse(next.bytes(), next.path());
        if (const std::int64_t number = part.part_number("split.no", -1); number != i)
            throw FileError(next.path() + ": split.no: expected " + std::to_string(i) + ", got " +
                            std::to_string(number));
        result.entries_.insert(result.entries_.end(), std::make_move_iterator(part.entries_.begin()),
                               std::make_move_iterator(part.entries_.end()));
        result.files_.push_back(std::move(next));
    }
    const auto count = static_cast<std::int64_t>(result.entries_.size());
    if (const std::int64_t all = result.part_number("split.tensors.count", count); all != count)
        throw FileError(path + ": expected " + std::to_string(all) + " tensors in " + std::to_string(parts) +
                        " parts, got " + std::to_string(count));
    result.sort_by_offset();
    result.index_names();
    return result;
}

/// What tensors' offsets are multiples of.
inline std::uint64_t Gguf::alignment() const {
    constexpr std::string_view key = "general.alignment";
    const GgufValue* value = metadata_.find(key);
    if (!value) return 32;
    if (value->type == GgufValueType::u32 && !value->is_list) {
        const auto alignment = static_cast<std::uint64_t>(value->integers()[0]);
        if (alignment != 0 && (alignment & (alignment - 1)) == 0) return alignment;
        throw Error(std::string(key) + ": expected a power of 2, got " + std::to_string(alignment));
    }
    throw Error(std::string(key) + ": expected a number of 32 bits, got another value");
}

inline Gguf::Row Gguf::read_row(detail::GgufCursor& cursor, std::uint64_t alignment) {
    Row row{};
    cursor.set_item("a tensor's name");
    const std::string_view name = cursor.text();
    row.entry.name = name;
    cursor.set_item(name);
    const auto rank = cursor.number<std::uint32_t>();
    if (rank < 1 || rank > greatest_rank)
        cursor.fail("a tensor of 1 to 4 axes", "one of " + std::to_string(rank));
    row.entry.shape.resize(rank);
    std::uint64_t count = 1;
    for (std::uint32_t i = 0; i < rank; ++i) {
        const auto extent = cursor.number<std::uint64_t>();
        constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        if (extent > most || (extent != 0 && count > most / extent))
            cursor.fail("a tensor of less than 2^63 elements",
                        "an extent of " + std::to_string(extent) + " on axis " + std::to_string(i));
        count *= extent;
        row.entry.shape[rank - 1 - i] = static_cast<std::int64_t>(extent);
    }
    const auto number = cursor.number<std::uint32_t>();
    const std::optional<GgmlType> type = ggml_type(number);
    if (!type)
        cursor.fail("a type among F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K",
                    "number " + std::to_string(number));
    row.entry.type = *type;
    const auto block = static_cast<std::uint64_t>(elements_of_block(*type));
    if (row.entry.shape.back() % static_cast<std::int64_t>(block) != 0)
        cursor.fail("rows of whole blocks of " + std::to_string(block) + " elements of " +
                        std::string(name_of(*type)),
                    "rows of " + std::to_string(row.entry.shape.back()));
    // Elements are at most 4 bytes each, so that this may be more than 64 bits hold.
    const std::uint64_t blocks = count / block, bytes = static_cast<std::uint64_t>(bytes_of_block(*type));
    if (blocks > std::numeric_limits<std::uint64_t>::max() / bytes)
        cursor.fail("a tensor whose byte count fits 64 bits", std::to_string(count) + " elements");
    row.size = blocks * bytes;
    row.offset = cursor.number<std::uint64_t>();
    if (row.offset % alignment != 0)
        cursor.fail("an offset that is a multiple of " + std::to_string(alignment),
                    std::to_string(row.offset));
    return row;
}

inline void Gguf::read_tensors(std::span<const std::byte> bytes) {
    const std::uint64_t alignment = this->alignment();
    detail::GgufCursor cursor({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    cursor.take(metadata_.size());
    cursor.set_item("the table of tensors");
    cursor.require_elements(metadata_.tensor_count(), least_bytes_of_row);
    std::vector<Row> rows;
    for (std::uint64_t i = 0; i < metadata_.tensor_count(); ++i) rows.push_back(read_row(cursor, alignment));

    // Tensors' bytes follow the table, from the next aligned place on.
    const std::size_t table_end = cursor.position();
    const std::uint64_t padding = (alignment - table_end % alignment) % alignment;
    const std::size_t begin = table_end + std::min<std::uint64_t>(padding, cursor.rest());
    const std::span<const std::byte> data = bytes.subspan(begin);
    for (Row& row : rows) {
        if (row.offset > data.size() || row.size > data.size() - row.offset)
            throw Error(row.entry.name.substr(0, 200) + ": expected " + std::to_string(row.size) +
                        " bytes at offset " + std::to_string(row.offset) + ", got a file of " +
                        std::to_string(data.size()) + " bytes from byte " + std::to_string(begin) + " on");
        row.entry.bytes =
            data.subspan(static_cast<std::size_t>(row.offset), static_cast<std::size_t>(row.size));
        entries_.push_back(std::move(row.entry));
    }
    sort_by_offset();
    refuse_overlaps();
    index_names();
}

inline void Gguf::refuse_overlaps() const {
    for (std::size_t i = 1; i < entries_.size(); ++i) {
        const GgufEntry &before = entries_[i - 1], &entry = entries_[i];
        if (before.bytes.data() + before.bytes.size() <= entry.bytes.data()) continue;
        throw Error(entry.name.substr(0, 200) + ": expected bytes of its own, got some of " +
                    before.name.substr(0, 200) + ": tensors overlap");
    }
}

}  // namespace tenon
