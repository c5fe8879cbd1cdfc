#pragma once

#include <initializer_list>
#include <string>

#include <doctest/doctest.h>

#include "tenon/core/error.hpp"

/// The message of the FileError that `action` throws; empty, and a failed check, if it throws none.
template <typename Action>
std::string thrown_message(Action action) {
    try {
        action();
    } catch (const tenon::FileError& error) {
        return error.what();
    }
    FAIL_CHECK("expected a FileError, got none");
    return "";
}

/// Checks that a message names what it should.
inline void check_mentions(const std::string& message, std::initializer_list<const char*> parts) {
    for (const char* part : parts) {
        CAPTURE(message);
        CAPTURE(part);
        CHECK(message.find(part) != std::string::npos);
    }
}
