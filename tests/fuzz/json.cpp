// JSON of any kind: every value of what is accepted can be read, and says where it stands.
#include <string>

#include <tenon/io/json.hpp>

#include "target.hpp"

namespace {

std::size_t visit(tenon::Json value) {
    std::size_t count = 1;
    fuzz::require(!value.where().empty(), "a value says where it stands");
    switch (value.kind()) {
        case tenon::JsonKind::object:
            for (const tenon::Json member : value.members()) {
                fuzz::require(value.find(member.key()).has_value(), "a member is found by its key");
                count += visit(member);
            }
            break;
        case tenon::JsonKind::array:
            for (const tenon::Json element : value.elements()) count += visit(element);
            break;
        case tenon::JsonKind::integer:
            fuzz::require(static_cast<double>(value.integer()) == value.real(), "an integer is a real");
            break;
        case tenon::JsonKind::real:
            (void)value.real();
            break;
        case tenon::JsonKind::text:
            (void)value.text().size();
            break;
        default:
            break;
    }
    return count;
}

}  // namespace

const fuzz::Target target("json", [](const std::uint8_t* data, std::size_t size) {
    fuzz::expect_value_or_error([&] {
        const tenon::JsonDocument document = tenon::parse_json(fuzz::text_of(data, size), "input");
        fuzz::require(visit(document.root()) <= size, "no more values than bytes");
    });
});
