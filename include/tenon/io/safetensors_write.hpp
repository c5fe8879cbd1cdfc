#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenon/core/element_type.hpp"
#include "tenon/core/error.hpp"
#include "tenon/io/atomic_file.hpp"
#include "tenon/io/json_text.hpp"
#include "tenon/io/safetensors_element_type.hpp"

namespace tenon {

/// A tensor to write: `bytes` are its elements, little-endian and row-major.
struct SafetensorsTensor {
    std::string name;
    ElementType type;
    std::vector<std::int64_t> shape;
    std::span<const std::byte> bytes;
};

namespace detail {

inline void require_writable(const std::string& path, const SafetensorsTensor& tensor) {
    std::string where = path + ": tensor \"" + tensor.name + "\": ";
    if (!is_utf8(tensor.name)) throw FileError(where + "expected a name in UTF-8");
    if (tensor.name == "__metadata__")
        throw FileError(where + "expected a name that the format does not reserve");
    std::uint64_t size = size_of(tensor.type);
    for (std::int64_t extent : tensor.shape) {
        bool overflows =
            extent > 0 && size > std::numeric_limits<std::uint64_t>::max() / std::uint64_t(extent);
        if (extent < 0 || overflows) {
            throw FileError(where + "expected extents whose byte count fits 64 bits, got " +
                            std::to_string(extent));
        }
        size *= static_cast<std::uint64_t>(extent);
    }
    if (size != tensor.bytes.size()) {
        throw FileError(where + "expected the " + std::to_string(size) +
                        " bytes of its type and shape, got " + std::to_string(tensor.bytes.size()));
    }
}

inline void require_distinct_names(const std::string& path, std::span<const SafetensorsTensor> tensors) {
    std::vector<std::string_view> names;
    for (const SafetensorsTensor& tensor : tensors) names.push_back(tensor.name);
    std::sort(names.begin(), names.end());
    auto repeated = std::adjacent_find(names.begin(), names.end());
    if (repeated == names.end()) return;
    throw FileError(path + ": expected one tensor \"" + std::string(*repeated) + "\", got several");
}

/// A member of the header: where a tensor lies after it.
inline void append_safetensors_member(std::string& header, const SafetensorsTensor& tensor,
                                      std::uint64_t offset) {
    append_json_string(header, tensor.name);
    header += ":{\"dtype\":\"";
    header += safetensors_name_of(tensor.type);
    header += "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
        if (i > 0) header += ',';
        header += std::to_string(tensor.shape[i]);
    }
    header += "],\"data_offsets\":[" + std::to_string(offset) + "," +
              std::to_string(offset + tensor.bytes.size()) + "]}";
}

inline void append_safetensors_metadata(std::string& header,
                                        std::span<const std::pair<std::string, std::string>> metadata) {
    header += "\"__metadata__\":{";
    for (std::size_t i = 0; i < metadata.size(); ++i) {
        if (i > 0) header += ',';
        append_json_string(header, metadata[i].first);
        header += ':';
        append_json_string(header, metadata[i].second);
    }
    header += '}';
}

}  // namespace detail

/// Writes a safetensors file, whole or not at all. Tensors lie as the reference implementation lays them: by
/// type from the most to the least aligned, then by name, after a header padded to 8 bytes. Throws FileError.
inline void write_safetensors(const std::string& path, std::vector<SafetensorsTensor> tensors,
                              std::span<const std::pair<std::string, std::string>> metadata = {}) {
    for (const SafetensorsTensor& tensor : tensors) detail::require_writable(path, tensor);
    std::sort(tensors.begin(), tensors.end(), [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
        return a.type != b.type ? a.type > b.type : a.name < b.name;
    });

    detail::require_distinct_names(path, tensors);

    std::string header(8, '\0');
    header += '{';
    if (!metadata.empty()) detail::append_safetensors_metadata(header, metadata);
    std::uint64_t offset = 0;
    for (const SafetensorsTensor& tensor : tensors) {
        if (header.back() == '}') header += ',';
        detail::append_safetensors_member(header, tensor, offset);
        offset += tensor.bytes.size();
    }
    header += '}';
    header.resize((header.size() + 7) / 8 * 8, ' ');
    std::uint64_t length = header.size() - 8;
    if (length > 100'000'000) {
        throw FileError(path + ": expected a header of at most 100000000 bytes, got " +
                        std::to_string(length));
    }
    for (std::size_t i = 0; i < 8; ++i) header[i] = static_cast<char>(length >> (8 * i) & 0xFF);

    AtomicFile file(path);
    file.write(header);
    for (const SafetensorsTensor& tensor : tensors) file.write(tensor.bytes);
    file.commit();
}

}  // namespace tenon
