#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tenon::support {

/// Appends the bytes of a number, the least first.
template <class T>
void append_number(std::string& bytes, T number) {
    const std::size_t size = bytes.size();
    bytes.resize(size + sizeof number);
    std::memcpy(bytes.data() + size, &number, sizeof number);
}

/// Writes a GGUF file, sound or not. All keys begin with `prefix`.
class GgufFile {
public:
    explicit GgufFile(std::string prefix = "") : prefix_(std::move(prefix)) {}

    GgufFile& text(std::string_view key, std::string_view value) {
        begin(key, 8);
        append_text(values_, value);
        return *this;
    }
    GgufFile& flag(std::string_view key, bool value) { return number(key, 7, std::uint8_t{value}); }
    GgufFile& integer(std::string_view key, std::uint32_t value) { return number(key, 4, value); }
    GgufFile& real(std::string_view key, float value) { return number(key, 6, value); }
    template <class T>
    GgufFile& number(std::string_view key, std::uint32_t type, T value) {
        begin(key, type);
        append_number(values_, value);
        return *this;
    }
    GgufFile& texts(std::string_view key, const std::vector<std::string>& values) {
        begin_list(key, 8, values.size());
        for (const std::string& value : values) append_text(values_, value);
        return *this;
    }
    GgufFile& integers(std::string_view key, const std::vector<std::int32_t>& values) {
        begin_list(key, 5, values.size());
        for (const std::int32_t value : values) append_number(values_, value);
        return *this;
    }
    GgufFile& reals(std::string_view key, const std::vector<float>& values) {
        begin_list(key, 6, values.size());
        for (const float value : values) append_number(values_, value);
        return *this;
    }
    /// A list that says it has `count` elements.
    GgufFile& begin_list(std::string_view key, std::uint32_t type, std::uint64_t count) {
        begin(key, 9);
        append_number(values_, type);
        append_number(values_, count);
        return *this;
    }

    /// A tensor of a row-major shape; its bytes follow those of the last one, unless an offset says
    /// otherwise.
    GgufFile& tensor(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
                     std::string_view bytes, std::optional<std::uint64_t> offset = {}) {
        data_.resize((data_.size() + alignment_ - 1) / alignment_ * alignment_);
        append_text(table_, name);
        append_number(table_, static_cast<std::uint32_t>(shape.size()));
        for (std::size_t i = shape.size(); i-- > 0;) append_number(table_, shape[i]);
        append_number(table_, type);
        append_number(table_, offset.value_or(data_.size()));
        data_ += bytes;
        ++tensors_;
        return *this;
    }
    GgufFile& alignment(std::uint32_t alignment) {
        alignment_ = alignment;
        return integer("general.alignment", alignment);
    }

    std::string bytes(std::uint32_t version = 3) const { return bytes(version, tensors_); }
    /// The header says that there are so many tensors.
    std::string bytes(std::uint32_t version, std::uint64_t tensors) const {
        std::string file = "GGUF";
        append_number(file, version);
        append_number(file, tensors);
        append_number(file, count_);
        file += values_ + table_;
        if (tensors_ > 0) file.resize((file.size() + alignment_ - 1) / alignment_ * alignment_);
        return file + data_;
    }

private:
    void begin(std::string_view key, std::uint32_t type) {
        append_text(values_, prefix_ + std::string(key));
        append_number(values_, type);
        ++count_;
    }
    static void append_text(std::string& bytes, std::string_view text) {
        append_number(bytes, std::uint64_t{text.size()});
        bytes += text;
    }

    std::string prefix_, values_, table_, data_;
    std::uint64_t count_ = 0, tensors_ = 0;
    std::size_t alignment_ = 32;
};

}  // namespace tenon::support
