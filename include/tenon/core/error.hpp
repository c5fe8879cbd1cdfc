#pragma once

#include <stdexcept>
#include <string>

namespace tenon {

/// The base of every exception that tenon throws. The message says what was expected, what came, and where.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Extents that do not fit each other, found at run time. The message carries the words of the compile error.
class ShapeError : public Error {
public:
    using Error::Error;
};

/// A file that cannot be read, written or understood. The message names the file, and the key or offset.
class FileError : public Error {
public:
    using Error::Error;
};

namespace detail {

/// What make() returns. An Error of its that names no file becomes a FileError, which names `where`.
template <class Make>
auto with_place(const std::string& where, Make&& make) {
    try {
        return make();
    } catch (const FileError&) {
        throw;
    } catch (const Error& error) {
        throw FileError(where + ": " + error.what());
    }
}

}  // namespace detail

/// A gradient asked of a graph that cannot give it: already consumed, or another thread's.
class GraphError : public Error {
public:
    using Error::Error;
};

}  // namespace tenon
