#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tenon::detail {

/// 64 bytes of a text. What is asked of each is answered by a word of 64 bits, the first byte's lowest. Eight
/// bytes are looked at together, which any machine can.
class PortableByteBlock {
public:
    static constexpr std::size_t size = 64;

    /// Reads 64 bytes.
    explicit PortableByteBlock(const char* bytes) {
        for (std::size_t i = 0; i < 8; ++i) {
            for (std::size_t byte = 0; byte < 8; ++byte)
                words_[i] |= std::uint64_t{static_cast<unsigned char>(bytes[8 * i + byte])} << 8 * byte;
        }
    }

    /// Which bytes lie from `first` to `last`, both of ASCII or both beyond.
    std::uint64_t within(unsigned char first, unsigned char last) const {
        return gather([=](std::uint64_t word) { return marks_within(word, first, last); });
    }

    /// Which bytes are letters of ASCII.
    std::uint64_t letters() const {
        return gather([](std::uint64_t word) { return marks_within(word | 0x20 * each, 'a', 'z'); });
    }

    /// Which bytes are not of ASCII.
    std::uint64_t beyond_ascii() const {
        return gather([](std::uint64_t word) { return word & 0x80 * each; });
    }

private:
    static constexpr std::uint64_t each = 0x0101010101010101u;

    /// The highest bit of each byte that lies in the range.
    static constexpr std::uint64_t marks_within(std::uint64_t word, unsigned char first, unsigned char last) {
        const std::uint64_t low = word & 0x7F * each;
        const std::uint64_t from_first = low + (0x80u - first % 0x80u) * each;
        const std::uint64_t after_last = low + (0x7Fu - last % 0x80u) * each;
        const std::uint64_t side = first < 0x80 ? ~word : word;
        return from_first & ~after_last & side & 0x80 * each;
    }

    template <class Marks>
    std::uint64_t gather(Marks&& marks) const {
        std::uint64_t bits = 0;
        // The product brings the eight marks together in its highest byte.
        for (std::size_t i = 0; i < 8; ++i)
            bits |= ((marks(words_[i]) >> 7) * 0x0102040810204080u >> 56) << 8 * i;
        return bits;
    }

    std::uint64_t words_[8] = {};
};

#ifdef __AVX2__

/// The same, by vectors of AVX2.
class VectorByteBlock {
public:
    static constexpr std::size_t size = 64;

    explicit VectorByteBlock(const char* bytes) {
        std::memcpy(&low_, bytes, sizeof low_);
        std::memcpy(&high_, bytes + sizeof low_, sizeof high_);
    }

    std::uint64_t within(unsigned char first, unsigned char last) const {
        return within(low_, high_, first, last);
    }

    std::uint64_t letters() const { return within(low_ | 0x20, high_ | 0x20, 'a', 'z'); }

    std::uint64_t beyond_ascii() const { return bits(low_) | bits(high_) << 32; }

private:
    // The compiler's vectors; <immintrin.h> takes long to read.
    typedef unsigned char Bytes __attribute__((vector_size(32)));
    typedef char Marks __attribute__((vector_size(32)));

    static std::uint64_t within(Bytes low, Bytes high, unsigned char first, unsigned char last) {
        const auto distance = static_cast<unsigned char>(last - first);
        return bits(low - first <= distance) | bits(high - first <= distance) << 32;
    }

    /// The highest bit of each byte.
    template <class Vector>
    static std::uint64_t bits(Vector bytes) {
        Marks marks;
        std::memcpy(&marks, &bytes, sizeof marks);
        return static_cast<std::uint32_t>(__builtin_ia32_pmovmskb256(marks));
    }

    Bytes low_, high_;
};

using ByteBlock = VectorByteBlock;

#else

using ByteBlock = PortableByteBlock;

#endif

}  // namespace tenon::detail
