#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/element_type.hpp"
#include "tenon/core/error.hpp"
#include "tenon/io/json.hpp"
#include "tenon/io/mapped_file.hpp"
#include "tenon/io/named_tensors.hpp"
#include "tenon/io/safetensors_element_type.hpp"

namespace tenon {

/// A tensor of a safetensors file. `bytes` are its elements, little-endian and row-major, inside the file's
/// mapping; old writers did not align them, so copy them out or check before reading them as anything wider
/// than bytes.
struct SafetensorsEntry {
    std::string name;
    ElementType type;
    std::vector<std::int64_t> shape;
    std::span<const std::byte> bytes;
};

/// The tensors of a safetensors file (https://github.com/huggingface/safetensors, "Format"), mapped, not
/// copied. Everything the format demands is checked when the file is opened: what is found is sound.
class Safetensors : public detail::NamedTensors<SafetensorsEntry> {
public:
    /// Maps and checks a file. Throws FileError.
    static Safetensors open(const std::string& path) {
        MappedFile file(path);
        Safetensors result = parse(file.bytes(), path);
        result.file_ = std::move(file);
        return result;
    }

    /// Checks bytes that lie in memory, which must outlive the result. `where` names them in messages. Throws
    /// FileError.
    static Safetensors parse(std::span<const std::byte> bytes, std::string where);

    /// The free-form texts of the header, in the order of the file.
    const std::vector<std::pair<std::string, std::string>>& metadata() const { return metadata_; }

private:
    using NamedTensors::NamedTensors;

    void read_metadata(Json object);
    void read_entry(Json info, std::span<const std::byte> buffer);
    void order_by_offset(std::span<const std::byte> buffer);

    MappedFile file_;
    std::vector<std::pair<std::string, std::string>> metadata_;
};

namespace detail {

/// A nonnegative integer.
inline std::uint64_t safetensors_extent(Json value) {
    if (!value.is(JsonKind::integer) || value.integer() < 0) value.fail("a nonnegative integer");
    return static_cast<std::uint64_t>(value.integer());
}

/// The bytes that a tensor takes.
inline std::uint64_t safetensors_byte_count(Json shape_value, std::span<const std::int64_t> shape,
                                            ElementType type) {
    std::uint64_t count = size_of(type);
    for (std::int64_t extent : shape) {
        auto factor = static_cast<std::uint64_t>(extent);
        if (factor != 0 && count > std::numeric_limits<std::uint64_t>::max() / factor) {
            shape_value.fail("a shape whose byte count fits 64 bits");
        }
        count *= factor;
    }
    return count;
}

}  // namespace detail

inline void Safetensors::read_metadata(Json object) {
    if (!object.is(JsonKind::object)) object.fail("an object of texts");
    for (Json value : object.members()) metadata_.emplace_back(value.key(), value.text());
}

inline void Safetensors::read_entry(Json info, std::span<const std::byte> buffer) {
    std::optional<Json> dtype, shape, offsets;
    for (Json field : info.members()) {
        std::optional<Json>* slot = field.key() == "dtype"          ? &dtype
                                    : field.key() == "shape"        ? &shape
                                    : field.key() == "data_offsets" ? &offsets
                                                                    : nullptr;
        if (slot == nullptr) continue;  // the reference reader lets unknown fields pass
        if (*slot) field.fail("one field of this name in a tensor");
        *slot = field;
    }
    if (!dtype || !shape || !offsets) info.fail("an object with dtype, shape and data_offsets");

    SafetensorsEntry entry;
    entry.name = info.key();
    std::optional<ElementType> type = detail::element_type_of_safetensors(dtype->text());
    if (!type) dtype->fail("a known dtype");
    entry.type = *type;
    for (Json extent : shape->elements()) {
        entry.shape.push_back(static_cast<std::int64_t>(detail::safetensors_extent(extent)));
    }

    if (!offsets->is(JsonKind::array) || offsets->size() != 2) offsets->fail("an array of two offsets");
    auto offset = offsets->elements().begin();
    std::uint64_t first = detail::safetensors_extent(*offset);
    ++offset;
    std::uint64_t last = detail::safetensors_extent(*offset);
    std::string range = " [" + std::to_string(first) + ", " + std::to_string(last) + ")";
    if (first > last || last > buffer.size()) {
        throw FileError(offsets->where() + ": expected a range of the " + std::to_string(buffer.size()) +
                        " bytes after the header, got" + range);
    }
    std::uint64_t size = detail::safetensors_byte_count(*shape, entry.shape, entry.type);
    if (last - first != size) {
        throw FileError(offsets->where() + ": expected the " + std::to_string(size) +
                        " bytes of the dtype and shape, got" + range);
    }
    entry.bytes = buffer.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(size));
    entries_.push_back(std::move(entry));
}

/// Sorts the entries, and checks that they cover the buffer without overlaps or holes.
inline void Safetensors::order_by_offset(std::span<const std::byte> buffer) {
    sort_by_offset();
    std::size_t expected = 0;
    for (const SafetensorsEntry& entry : entries_) {
        auto first = static_cast<std::size_t>(entry.bytes.data() - buffer.data());
        if (first != expected) {
            throw FileError(where_ + ": " + entry.name + ": expected to begin at offset " +
                            std::to_string(expected) + " after the header, got " + std::to_string(first) +
                            (first < expected ? ": tensors overlap" : ": bytes belong to no tensor"));
        }
        expected += entry.bytes.size();
    }
    if (expected != buffer.size()) {
        throw FileError(where_ + ": expected " + std::to_string(expected) + " bytes after the header, got " +
                        std::to_string(buffer.size()));
    }
}

inline Safetensors Safetensors::parse(std::span<const std::byte> bytes, std::string where) {
    constexpr std::size_t length_size = 8;
    constexpr std::uint64_t maximum_header = 100'000'000;  // the reference reader's bound
    Safetensors result(std::move(where));
    auto expect = [&](bool satisfied, const char* expected, std::uint64_t got) {
        if (satisfied) return;
        throw FileError(result.where_ + ": expected " + expected + ", got " + std::to_string(got));
    };

    expect(bytes.size() >= length_size, "at least the 8 bytes of the header's length at byte 0",
           bytes.size());
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < length_size; ++i) length |= std::uint64_t(bytes[i]) << (8 * i);
    expect(length <= maximum_header, "a header of at most 100000000 bytes", length);
    expect(length <= bytes.size() - length_size, "the header's length at byte 0 to lie within the file",
           length);
    auto header_size = static_cast<std::size_t>(length);
    std::string_view header(reinterpret_cast<const char*>(bytes.data()) + length_size, header_size);
    if (!header.starts_with('{'))
        throw FileError(result.where_ + ": expected a header that begins with { at byte 8");
    std::span<const std::byte> buffer = bytes.subspan(length_size + header_size);

    JsonDocument document = parse_json(header, result.where_ + ", header");
    bool has_metadata = false;
    for (Json member : document.root().members()) {
        if (member.key() != "__metadata__") {
            result.read_entry(member, buffer);
        } else if (std::exchange(has_metadata, true)) {
            member.fail("one __metadata__");
        } else {
            result.read_metadata(member);
        }
    }
    result.order_by_offset(buffer);
    result.index_names();
    return result;
}

}  // namespace tenon
