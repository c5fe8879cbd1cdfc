#pragma once

#include <cstddef>
#include <cstdint>
#include <sys/mman.h>
#include <vector>

namespace tenon::detail {

/// Asks the system for huge pages under memory that nobody has written to yet, where it is large enough: what
/// is read at random then seldom waits for the address of its page. Without any, nothing changes.
inline void prefer_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_HUGEPAGE
    constexpr std::uintptr_t page = std::uintptr_t{2} << 20;
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    const std::uintptr_t begin = (address + page - 1) / page * page, end = (address + bytes) / page * page;
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

/// Makes room for so many elements, in huge pages where there are such.
template <class Element>
void reserve_in_huge_pages(std::vector<Element>& elements, std::size_t count) {
    if (elements.capacity() >= count) return;
    elements.reserve(count);
    Element* const end = elements.data() + elements.size();
    prefer_huge_pages(end, (elements.capacity() - elements.size()) * sizeof(Element));
}

/// So many elements, in huge pages where there are such.
template <class Element>
std::vector<Element> make_in_huge_pages(std::size_t count) {
    std::vector<Element> elements;
    reserve_in_huge_pages(elements, count);
    elements.resize(count);
    return elements;
}

}  // namespace tenon::detail
